//! Steps of a fix that several rules need, with the real names and places in them.

use manada_model::{StandbyName, SyncMethod, SyncPolicy};
use manada_postgres::quote;

use crate::facts::{AccessRule, Server, SettingOrigin};
use crate::finding::Step;

/// A role's, database's or slot's name as SQL takes it.
pub(crate) fn identifier(name: &str) -> String {
    quote::identifier(name).expect("a name that a server told has no zero byte")
}

/// A text as SQL takes it.
pub(crate) fn literal(text: &str) -> String {
    quote::literal(text).expect("a text that a server told has no zero byte")
}

/// Gives a setting the value `wanted` in the place where it is set now, and puts it in force.
pub(crate) fn set(server: &Server, name: &str, wanted: &str) -> Vec<Step> {
    let value = literal(wanted);
    let setting = server.settings.get(name).ok();
    let alter = || Step::sql(server, format!("ALTER SYSTEM SET {name} = {value};"));
    let change = match setting.map(|setting| &setting.origin) {
        Some(SettingOrigin::File { path, .. })
            if name == SYNC_POLICY && path.ends_with("/manada.conf") =>
        {
            return vec![Step::shell(server, sync_command(wanted))];
        }
        Some(SettingOrigin::File { path, line }) if !path.ends_with("postgresql.auto.conf") => {
            Step::Line {
                on: server.name.clone(),
                file: format!("{path}, line {line}"),
                text: format!("{name} = {value}"),
            }
        }
        Some(SettingOrigin::CommandLine) => Step::Do {
            text: format!(
                "take {name} out of the command line or the environment that {} is started with: \
                 it overrides every file",
                server.name
            ),
        },
        Some(
            SettingOrigin::File { .. }
            | SettingOrigin::Default
            | SettingOrigin::HiddenFile
            | SettingOrigin::Session,
        )
        | None => alter(),
    };
    let restart_needed = setting.is_some_and(|setting| setting.needs_restart);
    let force = if restart_needed {
        restart(server)
    } else {
        reload(server)
    };
    vec![change, force]
}

/// The setting for which Manada has a command of its own: it proves that the policy is in force.
const SYNC_POLICY: &str = "synchronous_standby_names";

/// The command for a policy that is written in `manada.conf`, a file that Manada writes whole.
fn sync_command(policy: &str) -> String {
    let Ok(SyncPolicy::Wait(rule)) = policy.parse() else {
        return "manada sync off".to_owned();
    };
    let method = match rule.method {
        SyncMethod::First => "first",
        SyncMethod::Any => "any",
    };
    let word = |name: &StandbyName| {
        quote::shell_word(name.as_str()).expect("a name that a server told has no zero byte")
    };
    let names: Vec<String> = rule.names.iter().map(word).collect();
    format!("manada sync {method} {} {}", rule.count, names.join(" "))
}

/// Has the configuration files read again.
pub(crate) fn reload(server: &Server) -> Step {
    Step::sql(server, "SELECT pg_reload_conf();")
}

/// Makes a physical slot that keeps WAL from now on.
pub(crate) fn create_slot(server: &Server, name: &str) -> Step {
    let name = literal(name);
    Step::sql(
        server,
        format!("SELECT pg_create_physical_replication_slot({name}, true);"),
    )
}

/// Drops a slot that nobody needs any more.
pub(crate) fn drop_slot(server: &Server, name: &str) -> Step {
    let name = literal(name);
    Step::sql(server, format!("SELECT pg_drop_replication_slot({name});"))
}

/// Stops the server and starts it again: where an agent looks after it, that one starts it.
pub(crate) fn restart(server: &Server) -> Step {
    let stop = |directory: &str| {
        let word = quote::shell_word(directory).expect("a path has no zero byte");
        format!("pg_ctl stop -m fast -D {word}")
    };
    if is_under_an_agent(server) {
        let directory = server.settings.text("data_directory").unwrap_or("PGDATA");
        let command = if server.in_recovery() {
            // Its agent starts it again.
            stop(directory)
        } else {
            // The former primary starts again as a standby.
            "manada switchover".to_owned()
        };
        return Step::shell(server, command);
    }
    let debian = server
        .settings
        .text("config_file")
        .ok()
        .and_then(|file| file.strip_prefix("/etc/postgresql/"))
        .and_then(|rest| {
            let mut parts = rest.split('/');
            Some((parts.next()?, parts.next()?))
        });
    let command = match (debian, server.settings.text("data_directory")) {
        (Some((version, cluster)), _) => format!("pg_ctlcluster {version} {cluster} restart"),
        (None, Ok(directory)) => {
            let word = quote::shell_word(directory).expect("a path has no zero byte");
            format!("pg_ctl restart -m fast -D {word}")
        }
        (None, Err(_)) => "pg_ctl restart -m fast -D PGDATA".to_owned(),
    };
    Step::shell(server, command)
}

/// Whether an agent decides what becomes of the server when it ends: then it has set this.
fn is_under_an_agent(server: &Server) -> bool {
    let setting = server.settings.get("restart_after_crash").ok();
    setting.is_some_and(|setting| {
        let of_the_agent = matches!(
            &setting.origin,
            SettingOrigin::File { path, .. } if path.ends_with("/manada.conf")
        );
        of_the_agent && setting.value == "off"
    })
}

/// Puts another line into `pg_hba.conf` in place of `rule`, and in force.
pub(crate) fn replace_access_rule(server: &Server, rule: &AccessRule, line: String) -> Vec<Step> {
    vec![
        Step::Line {
            on: server.name.clone(),
            file: access_file(server, rule),
            text: line,
        },
        reload(server),
    ]
}

/// The file and line of an access rule.
pub(crate) fn access_file(server: &Server, rule: &AccessRule) -> String {
    let file = rule
        .file
        .as_deref()
        .or_else(|| server.settings.text("hba_file").ok())
        .unwrap_or("pg_hba.conf");
    format!("{file}, line {}", rule.line)
}

/// A command with the values of what looks like secrets taken out: `KEY=…` and `//user:…@`.
pub(crate) fn without_secrets(command: &str) -> String {
    let secret = |word: &str| match word.split_once('=') {
        Some((name, value)) if !value.is_empty() => {
            let name_lower = name.to_ascii_lowercase();
            let telling = ["password", "passwd", "secret", "token", "key"];
            telling
                .iter()
                .any(|part| name_lower.contains(part))
                .then(|| format!("{name}=***"))
        }
        Some(_) | None => None,
    };
    let userinfo = |word: &str| {
        let (scheme, rest) = word.split_once("://")?;
        let (userinfo, host) = rest.rsplit_once('@')?;
        let (user, _) = userinfo.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}"))
    };
    let words = command.split(' ').map(|word| {
        secret(word)
            .or_else(|| userinfo(word))
            .unwrap_or_else(|| word.to_owned())
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_of_a_managed_herd_is_changed_with_its_command() {
        assert_eq!(sync_command(""), "manada sync off");
        let command = sync_command(r#"ANY 2 (s1, "it's", s3)"#);
        assert!(command.starts_with("manada sync any 2 "), "{command}");
        assert!(!command.contains(" it's "), "{command}");
    }

    #[test]
    fn secrets_do_not_leave_a_command() {
        assert_eq!(
            without_secrets("AWS_SECRET_ACCESS_KEY=abc wal-g --to=s3://u:pw@host/x wal-push %p"),
            "AWS_SECRET_ACCESS_KEY=*** wal-g --to=s3://u:***@host/x wal-push %p"
        );
        assert_eq!(without_secrets("cp %p  /a/%f"), "cp %p  /a/%f");
    }
}
