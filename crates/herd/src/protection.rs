//! What an agent sets on a node that it protects: settings, whom it follows, who gets in.

use std::path::Path;

use manada_postgres::Conninfo;
use manada_postgres::conninfo::Endpoint;
use manada_postgres::control_file::RecoverySettings;
use manada_postgres::os_user::OsUser;
use manada_postgres::quote::{Unquotable, archive_command_word};
use manada_postgres::settings::{ManagedSettings, Setting};

use crate::access::{self, Door};
use crate::home::Home;
use crate::managed;
pub use crate::managed::STANDBY_LIMITS;
use crate::member::Member;
use crate::node::Node;
use crate::server_files::{self, ServerFilesError};

/// A name in `synchronous_standby_names` that no node can have: commits wait for it for ever.
pub const NOBODY: &str = "-nobody-";

/// What separates the program from its arguments in the archiving commands that Manada writes.
const PUSH: &str = " wal push %p --archive ";
const FETCH: &str = " wal fetch %f %p --archive ";
const HOME: &str = " --home ";

/// How far a standby stays behind on purpose.
const APPLY_DELAY: &str = "recovery_min_apply_delay";

/// How a standby notices that its leader's host is gone: after two seconds of silence it asks twice,
/// a second apart, and what it sent may stay unanswered for as long. A stall of 1.5 s is survived.
const DEAD_PEER: &str = "connect_timeout=2 keepalives_idle=2 keepalives_interval=1 \
     keepalives_count=2 tcp_user_timeout=4000";

/// The settings of a protected node, besides those that follow from what it is.
pub fn settings(
    present: &ManagedSettings,
    home: &Home,
    checksums: bool,
) -> Result<Vec<Setting>, Unquotable> {
    let mut settings = vec![
        Setting::new(
            "restart_after_crash",
            "off",
            "After a crash the agent decides: recovery by itself would let clients in unasked.",
        ),
        Setting::new(
            "wal_receiver_status_interval",
            "1s",
            "The primary hears of this standby also when nothing is written.",
        ),
        Setting::new(
            "wal_receiver_timeout",
            "5s",
            "A primary that is silent for longer is connected to anew; a stall of a second is none.",
        ),
        Setting::new(
            "wal_sender_timeout",
            "5s",
            "A standby that is silent for longer is gone; a stall of a second is none.",
        ),
        Setting::new(
            "wal_retrieve_retry_interval",
            "100ms",
            "A standby finds its new primary as soon as there is one.",
        ),
        Setting::new(
            "recovery_target_timeline",
            "latest",
            "A standby follows its primary's successor, too.",
        ),
    ];
    if !checksums {
        settings.push(Setting::new(
            "wal_log_hints",
            "on",
            "Without data checksums, pg_rewind needs this.",
        ));
    }
    if let Some(command) = present.value("archive_command")
        && command.contains(PUSH)
        && !command.contains(HOME)
    {
        let home = archive_command_word(&home.path().to_string_lossy())?;
        settings.push(Setting::new(
            "archive_command",
            format!("{command}{HOME}{home}"),
            "Durable before it says so, never overwrites, and waits until this node leads.",
        ));
    }
    Ok(settings)
}

/// The settings of a node that has lost its own with its data: those of the server that was cloned,
/// and this node's in place of what is that one's alone.
pub fn settings_anew(cloned: ManagedSettings, node: &Node) -> Result<ManagedSettings, Unquotable> {
    let mut settings = cloned;
    if let Some(command) = settings.value("archive_command")
        && let Some((push, _)) = command.split_once(HOME)
    {
        let push = push.to_owned();
        settings.set(Setting::new(
            "archive_command",
            push,
            "Durable before it says so, and never overwrites.",
        ));
    }
    let mut own = managed::shared(&node.file, &node.home);
    let places = managed::listening(&node.file).into_iter();
    for setting in places.chain(managed::own_server(&node.file)) {
        own.set(setting);
    }
    for setting in own.iter() {
        settings.set(setting.clone());
    }
    for setting in self::settings(&settings, &node.home, true)? {
        settings.set(setting);
    }
    follow_nobody(&mut settings);
    Ok(settings)
}

/// What a standby needs to replay the WAL that it has: its primary's values, in the order of
/// [`STANDBY_LIMITS`]. Replay writes them to `pg_control` before it heeds them.
///
/// Source: `xlog_redo` and `CheckRequiredParameterValues` in `xlog.c`.
pub fn limits_needed(primary: &RecoverySettings) -> [i32; 5] {
    [
        primary.max_connections,
        primary.max_worker_processes,
        primary.max_wal_senders,
        primary.max_prepared_transactions,
        primary.max_locks_per_transaction,
    ]
}

/// A limit as the primary has it, from the next start on.
pub fn limit_as_on_the_primary(name: &str, value: i32) -> Setting {
    Setting::new(
        name,
        value.to_string(),
        "As on the primary: a standby with less replays nothing, and does not start.",
    )
}

/// Has the node follow the server at `leader`, of whose slot for this node it takes its WAL.
pub fn follow(settings: &mut ManagedSettings, node: &Node, leader: Endpoint) {
    for mut setting in managed::standby(&node.file, &node.home, &[leader]) {
        if setting.name == "primary_conninfo" {
            setting.value = format!("{} {DEAD_PEER}", setting.value);
        }
        settings.set(setting);
    }
    match settings.value("archive_command").and_then(fetch_command) {
        Some(command) => settings.set(Setting::new(
            "restore_command",
            command,
            "A standby takes from the archive what its primary no longer has.",
        )),
        None => settings.remove("restore_command"),
    }
    settings.remove(APPLY_DELAY);
}

/// Has the node follow nobody.
pub fn follow_nobody(settings: &mut ManagedSettings) {
    let reason = "This node follows nobody until its herd has a leader.";
    for name in ["primary_conninfo", "restore_command"] {
        settings.set(Setting::new(name, "", reason));
    }
    settings.set(Setting::new(
        APPLY_DELAY,
        "0",
        "Whoever may come to lead replays at once what it has.",
    ));
}

/// The connection by which this node reads the files of the server at `leader`.
pub fn rewind_source(node: &Node, leader: Endpoint) -> Conninfo {
    Conninfo::at(leader, &node.file.replication_role)
        .with_dbname(crate::schema::DATABASE)
        .with_passfile(node.home.passfile())
        .with_ssl(managed::node_tls(&node.home))
        .with_application_name("manada rewind")
}

/// Writes the node's access rules. Says whether they changed.
pub fn write_access(
    node: &Node,
    user: &OsUser,
    members: &[Member],
    door: Door,
) -> Result<bool, ServerFilesError> {
    server_files::write_protected_access(&node.file, user, members, door)
}

/// Whether the access rules in this file close the door.
pub fn door(hba_file: &Path) -> Result<Door, ServerFilesError> {
    Ok(access::door_in(&server_files::read(hba_file)?))
}

/// Whether the server archives by `manada wal push`, which takes the same content twice.
pub fn archives_by_manada(settings: &ManagedSettings) -> bool {
    let command = settings.value("archive_command");
    command.is_some_and(|command| command.contains(PUSH))
}

/// How to fetch what that command pushed.
fn fetch_command(push: &str) -> Option<String> {
    let (program, rest) = push.split_once(PUSH)?;
    let archive = rest.rsplit_once(HOME).map_or(rest, |(archive, _)| archive);
    Some(format!("{program}{FETCH}{archive}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_model::NodeName;

    #[test]
    fn nobody_can_be_called_nobody() {
        assert!(NOBODY.parse::<NodeName>().is_err());
    }

    #[test]
    fn what_is_pushed_is_fetched_from_the_same_place() {
        let home = Home::at(Path::new("/it's/home")).expect("absolute");
        let mut present = ManagedSettings::new();
        for setting in managed::archive(Path::new("/opt/my tools/manada"), Path::new("/an archive"))
            .expect("quotable")
        {
            present.set(setting);
        }
        let fetch = present.value("restore_command").map(str::to_owned);
        for setting in settings(&present, &home, true).expect("quotable") {
            present.set(setting);
        }
        let push = present.value("archive_command").expect("set");
        assert!(push.ends_with(r" --home '/it'\''s/home'"), "{push}");
        assert_eq!(fetch_command(push), fetch);
        let again = settings(&present, &home, true).expect("quotable");
        assert!(
            again
                .iter()
                .all(|setting| setting.name != "archive_command")
        );
    }
}
