//! Which settings Manada gives a node, and why: the content of its `manada.conf`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;

use manada_postgres::Conninfo;
use manada_postgres::address::HostAddress;
use manada_postgres::conninfo::{
    ClientCertificate, Endpoint, RootCertificate, SslMode, SslParameters,
};
use manada_postgres::quote::{Unquotable, archive_command_word};
use manada_postgres::settings::{ManagedSettings, Setting};

use crate::home::Home;
use crate::node_file::NodeFile;

/// What a standby may retain on the primary, as a part of the space that is free when it is set,
/// and the bounds of that: below, a standby could be cut off in minutes; above, a recovery from
/// the archive or a new clone is quicker than replaying it.
const SLOT_SHARE_OF_FREE: u64 = 3;
const SLOT_GIGABYTES_MIN: u64 = 1;
const SLOT_GIGABYTES_MAX: u64 = 100;

/// Walsenders: one for each standby and one more while it is cloned, with room.
const WALSENDERS_MIN: u32 = 10;

/// The settings whose smaller value on a standby than on its primary keeps it from starting.
///
/// Source: PostgreSQL manual, "Hot Standby", "Administrator's Overview".
pub const STANDBY_LIMITS: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// The settings that follow from what a node is, the same for a primary and a standby so that
/// they can change places.
pub(crate) fn shared(node: &NodeFile, home: &Home) -> ManagedSettings {
    let mut settings = ManagedSettings::new();
    let mut set = |name: &str, value: String, reason: &str| {
        settings.set(Setting::new(name, value, reason));
    };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let text = str::to_owned;
    set(
        "cluster_name",
        node.name.to_string(),
        "The node's name, also in the process list.",
    );
    set(
        "ssl",
        text("on"),
        "Passwords and data cross the network encrypted.",
    );
    set(
        "ssl_cert_file",
        path(&home.server_certificate()),
        "This server's certificate, signed by the herd's authority.",
    );
    set("ssl_key_file", path(&home.server_key()), "Its key.");
    set(
        "ssl_ca_file",
        path(&home.ca_certificate()),
        "The herd's authority: the other nodes show its certificates.",
    );
    set(
        "wal_level",
        text("replica"),
        "The WAL holds what a standby needs.",
    );
    set(
        "max_wal_senders",
        WALSENDERS_MIN.to_string(),
        "One for each standby, and one more while it is cloned.",
    );
    set(
        "max_replication_slots",
        WALSENDERS_MIN.to_string(),
        "One for each standby.",
    );
    set(
        "wal_keep_size",
        text("128MB"),
        "A cushion of recent WAL for a standby whose slot was lost.",
    );
    set("hot_standby", text("on"), "A standby answers reads.");
    set(
        "wal_retrieve_retry_interval",
        text("500ms"),
        "A standby that lost its primary asks again soon: commits that wait for it wait less.",
    );
    settings
}

/// Where a server listens that was not there before.
pub(crate) fn listening(node: &NodeFile) -> Vec<Setting> {
    let (addresses, reason) = listen_addresses(&node.addresses);
    vec![
        Setting::new("port", node.port.to_string(), "Where this node listens."),
        Setting::new("listen_addresses", addresses, reason),
    ]
}

/// What a server that Manada makes has besides.
pub(crate) fn own_server(node: &NodeFile) -> Vec<Setting> {
    let mut settings = vec![
        Setting::new(
            "unix_socket_directories",
            node.socket_directory.to_string_lossy(),
            "This host's administrator comes in here.",
        ),
        Setting::new(
            "password_encryption",
            "scram-sha-256",
            "Passwords are stored and proven without being sent.",
        ),
    ];
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if syncfs_reports_errors(&release) {
        settings.push(Setting::new(
            "recovery_init_sync_method",
            "syncfs",
            "A recovery, and a clone's first start, sync the file system at once and not file by file.",
        ));
    }
    settings
}

/// Whether `syncfs` tells of data that could not be written: from Linux 5.8 on.
///
/// Source: PostgreSQL manual, "recovery_init_sync_method".
fn syncfs_reports_errors(kernel_release: &str) -> bool {
    let mut numbers = kernel_release
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
    (major, minor) >= (Some(5), Some(8))
}

/// The bound of what a slot may retain, from the space that is free where the WAL is.
pub(crate) fn slot_bound(wal_directory: &Path) -> io::Result<Setting> {
    let space = rustix::fs::statvfs(wal_directory)?;
    let free_gigabytes = space.f_bavail.saturating_mul(space.f_frsize) >> 30;
    let bound = (free_gigabytes / SLOT_SHARE_OF_FREE).clamp(SLOT_GIGABYTES_MIN, SLOT_GIGABYTES_MAX);
    Ok(Setting::new(
        "max_slot_wal_keep_size",
        format!("{bound}GB"),
        format!(
            "A standby that is away holds back at most this much WAL; {free_gigabytes} GB were free on its disk."
        ),
    ))
}

/// Archiving into a directory, and restoring from it.
pub(crate) fn archive(manada: &Path, directory: &Path) -> Result<Vec<Setting>, Unquotable> {
    let word = |path: &Path| archive_command_word(&path.to_string_lossy());
    let (program, directory) = (word(manada)?, word(directory)?);
    Ok(vec![
        Setting::new("archive_mode", "on", "Finished WAL segments are archived."),
        Setting::new(
            "archive_command",
            format!("{program} wal push %p --archive {directory}"),
            "Durable before it says so, and never overwrites.",
        ),
        Setting::new(
            "restore_command",
            format!("{program} wal fetch %f %p --archive {directory}"),
            "A standby takes from the archive what its primary no longer has.",
        ),
        Setting::new(
            "recovery_target_timeline",
            "latest",
            "A standby follows its primary's successor, too.",
        ),
    ])
}

/// What makes a server the standby of `primary`.
pub(crate) fn standby(node: &NodeFile, home: &Home, primary: &[Endpoint]) -> Vec<Setting> {
    let conninfo = Conninfo {
        endpoints: primary.to_vec(),
        ..Conninfo::at(primary[0].clone(), &node.replication_role)
    }
    .with_passfile(home.passfile())
    .with_ssl(node_tls(home))
    .with_application_name(node.name.as_str());
    vec![
        Setting::new(
            "primary_conninfo",
            conninfo.to_keywords(),
            "Whom this node follows; the password is in the password file.",
        ),
        Setting::new(
            "primary_slot_name",
            node.name.slot().as_str(),
            "The primary keeps the WAL that this node has yet to receive.",
        ),
    ]
}

/// How nodes of a herd prove themselves to each other.
pub(crate) fn node_tls(home: &Home) -> SslParameters {
    SslParameters {
        mode: SslMode::VerifyFull,
        root: RootCertificate::File(home.ca_certificate()),
        client: Some(ClientCertificate {
            certificate: home.server_certificate(),
            key: home.server_key(),
        }),
    }
}

/// What PostgreSQL has where nobody says otherwise; in the order of [`STANDBY_LIMITS`].
const DEFAULT_LIMITS: [u32; 5] = [100, 8, 10, 0, 64];

/// A standby's limits: at least the primary's, or it does not start. What is PostgreSQL's default
/// there is so here.
pub(crate) fn at_least_the_primarys(
    settings: &mut ManagedSettings,
    primary: &BTreeMap<String, String>,
) {
    for (name, default) in STANDBY_LIMITS.into_iter().zip(DEFAULT_LIMITS) {
        let number = |text: &str| text.parse::<u32>().ok();
        let needed = primary.get(name).and_then(|value| number(value));
        let present = settings.value(name).and_then(number);
        if let Some(needed) = needed
            && present.unwrap_or(default) < needed
        {
            settings.set(Setting::new(
                name,
                needed.to_string(),
                "As on the primary: a standby with less does not start.",
            ));
        }
    }
}

/// The node's addresses and this host itself, where the server can bind to them all; else every
/// address, because a name may lead elsewhere tomorrow, and an address of a router's (NAT) is
/// none of this host's.
pub(crate) fn listen_addresses(addresses: &[HostAddress]) -> (String, &'static str) {
    let all_are_own = addresses
        .iter()
        .all(|address| address.ip().is_some_and(can_bind));
    if !all_are_own {
        let reason = "Every address: the others reach this node by one that is not this host's own, or by name.";
        return ("*".to_owned(), reason);
    }
    let others = addresses.iter().filter(|address| !is_localhost(address));
    let list: Vec<String> = ["localhost".to_owned()]
        .into_iter()
        .chain(others.map(ToString::to_string))
        .collect();
    let reason = "This host itself, and where the others reach it.";
    (list.join(", "), reason)
}

/// Whether an address is what `localhost` means; 127.0.0.2 is not.
pub(crate) fn is_localhost(address: &HostAddress) -> bool {
    match address {
        HostAddress::Ip(IpAddr::V4(address)) => *address == Ipv4Addr::LOCALHOST,
        HostAddress::Ip(IpAddr::V6(address)) => *address == Ipv6Addr::LOCALHOST,
        HostAddress::Name(name) => name.as_str() == "localhost",
    }
}

fn can_bind(address: IpAddr) -> bool {
    TcpListener::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_reports_errors_syncs_the_file_system_at_once() {
        for (release, reports) in [
            ("5.7.19", false),
            ("4.18.0-553.el8", false),
            ("5.8.0", true),
            ("6.1.0-18-amd64", true),
            ("unknown", false),
        ] {
            assert_eq!(syncfs_reports_errors(release), reports, "{release}");
        }
    }

    #[test]
    fn a_server_listens_where_it_is_reached() {
        let addresses = |list: &[&str]| -> Vec<HostAddress> {
            list.iter()
                .map(|text| text.parse().expect("valid"))
                .collect()
        };
        assert_eq!(listen_addresses(&addresses(&["127.0.0.1"])).0, "localhost");
        assert_eq!(
            listen_addresses(&addresses(&["127.0.0.2"])).0,
            "localhost, 127.0.0.2"
        );
        // A documentation address (RFC 5737) is nobody's.
        assert_eq!(listen_addresses(&addresses(&["192.0.2.1"])).0, "*");
        assert_eq!(listen_addresses(&addresses(&["127.0.0.1", "db1"])).0, "*");
    }

    #[test]
    fn archiving_is_quoted_for_the_shell_and_for_postgresql() {
        let settings =
            archive(Path::new("/opt/my tools/manada"), Path::new("/it's 100%")).expect("quotable");
        assert_eq!(
            settings[1].value,
            r"'/opt/my tools/manada' wal push %p --archive '/it'\''s 100%%'"
        );
        assert_eq!(
            settings[2].value,
            r"'/opt/my tools/manada' wal fetch %f %p --archive '/it'\''s 100%%'"
        );
    }

    #[test]
    fn limits_are_raised_and_never_lowered() {
        let mut settings = ManagedSettings::new();
        settings.set(Setting::new("max_wal_senders", "10", "x"));
        let primary = [("max_wal_senders", "5"), ("max_connections", "300")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        at_least_the_primarys(&mut settings, &BTreeMap::from(primary));
        assert_eq!(settings.value("max_wal_senders"), Some("10"));
        assert_eq!(settings.value("max_connections"), Some("300"));
    }
}
