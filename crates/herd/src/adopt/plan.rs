//! What an adoption would change, decided from facts alone.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use manada_model::UnsupportedVersion;
use manada_postgres::address::HostAddress;
use manada_postgres::quote::Unquotable;
use manada_postgres::settings::{ManagedSettings, Setting};

use super::facts::Facts;
use crate::home::Home;
use crate::managed;
use crate::schema::{
    COMMENT_MARK, JOIN_ROLE, MONITOR_ROLE, REPLICATION_ROLE, REPLICATION_ROLE_APART,
};

/// Debian's certificate for machines that have none: self-signed, believed by nobody.
const SNAKEOIL: &str = "/etc/ssl/certs/ssl-cert-snakeoil.pem";

/// Walsenders and slots: below this a herd of a few nodes runs out of them.
const WALSENDERS_MIN: u32 = 10;

/// One thing that an adoption changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node's directory, with keys, certificates and passwords.
    Home {
        /// The directory.
        path: PathBuf,
    },
    /// A setting in `manada.conf`.
    Setting {
        /// The parameter.
        name: String,
        /// The value in force.
        old: String,
        /// The value to be.
        new: String,
        /// Why.
        reason: String,
        /// Whether it takes a restart.
        restart: bool,
    },
    /// `postgresql.conf` gets a last line that includes `manada.conf`.
    Include {
        /// `postgresql.conf`.
        path: PathBuf,
    },
    /// The marked block at the top of `pg_hba.conf`.
    AccessRules {
        /// `pg_hba.conf`.
        path: PathBuf,
        /// The block.
        block: String,
    },
    /// A role is made.
    Role {
        /// Its name.
        name: String,
    },
    /// The schema `manada` in the database `postgres` is made or brought up to date.
    Schema,
}

/// Why a server can't be adopted as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is older or newer than what Manada works with.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// It follows another server.
    #[error("the server is a standby: adopt its primary, then let this host join")]
    Standby,
    /// The role is none that may do it.
    #[error("{role} is no superuser")]
    NoSuperuser {
        /// The role.
        role: String,
    },
    /// Clients may be relying on the certificate.
    #[error(
        "the server uses the certificate {}, and perhaps its clients trust its issuer; a herd's nodes must have certificates of the herd",
        path.display()
    )]
    ForeignCertificate {
        /// The certificate.
        path: PathBuf,
    },
    /// A setting elsewhere wins over `manada.conf`.
    #[error("{name} = {value} is set by {by}, which overrides what manada would set: {wanted}")]
    Overridden {
        /// The parameter.
        name: String,
        /// The value in force.
        value: String,
        /// The value to be.
        wanted: String,
        /// By what.
        by: OverriddenBy,
    },
    /// The server archives already.
    #[error("the server archives with another archive_command already: {command}")]
    ArchiveInUse {
        /// The command.
        command: String,
    },
    /// A role or schema of that name is somebody else's.
    #[error("a {what} named {name} is there already, and not of manada's making")]
    NameInUse {
        /// `role` or `schema`.
        what: &'static str,
        /// Its name.
        name: String,
    },
}

/// What overrides a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverriddenBy {
    /// `postgresql.auto.conf`.
    AlterSystem,
    /// The server's command line.
    CommandLine,
}

impl std::fmt::Display for OverriddenBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OverriddenBy::AlterSystem => "ALTER SYSTEM",
            OverriddenBy::CommandLine => "the server's command line",
        })
    }
}

/// What is wanted of the server.
pub(super) struct Wish<'a> {
    pub(super) home: &'a Home,
    pub(super) addresses: &'a [HostAddress],
    pub(super) replace_certificate: bool,
    /// The program and the directory.
    pub(super) archive: Option<(&'a Path, &'a Path)>,
    /// How much a slot may retain, for a server that does not bound it.
    pub(super) slot_bound: Setting,
}

/// The role by which standbys follow: the usual name, unless somebody else uses it.
pub(super) fn replication_role(facts: &Facts) -> Result<&'static str, Unfit> {
    let free = |name: &str| {
        facts
            .roles
            .get(name)
            .is_none_or(|comment| comment.starts_with(COMMENT_MARK))
    };
    for name in [MONITOR_ROLE, JOIN_ROLE] {
        if !free(name) {
            return Err(Unfit::NameInUse {
                what: "role",
                name: name.to_owned(),
            });
        }
    }
    if let Some(comment) = &facts.schema
        && !comment.starts_with(COMMENT_MARK)
    {
        return Err(Unfit::NameInUse {
            what: "schema",
            name: "manada".to_owned(),
        });
    }
    [REPLICATION_ROLE, REPLICATION_ROLE_APART]
        .into_iter()
        .find(|name| free(name))
        .ok_or_else(|| Unfit::NameInUse {
            what: "role",
            name: REPLICATION_ROLE_APART.to_owned(),
        })
}

/// The content of `manada.conf` for an adopted server: what is there already, and what a herd needs
/// and the server does not have. What the server has is left to its owner.
pub(super) fn settings(
    facts: &Facts,
    present: &ManagedSettings,
    wish: &Wish<'_>,
) -> Result<ManagedSettings, AdoptSettingsError> {
    let mut settings = present.clone();
    certificate(facts, wish)?;
    for (name, value, reason) in tls(wish.home) {
        settings.set(Setting::new(name, value, reason));
    }
    let mut need = |name: &str, is_enough: bool, value: String, reason: &str| {
        if !is_enough && present.value(name).is_none() {
            settings.set(Setting::new(name, value, reason));
        }
    };
    let number = |name: &str| facts.value(name).parse::<i64>().unwrap_or(0);
    need(
        "wal_level",
        ["replica", "logical"].contains(&facts.value("wal_level")),
        "replica".to_owned(),
        "The WAL holds what a standby needs.",
    );
    for (name, reason) in [
        (
            "max_wal_senders",
            "One for each standby, and one more while it is cloned.",
        ),
        ("max_replication_slots", "One for each standby."),
    ] {
        let enough = number(name) >= WALSENDERS_MIN.into();
        need(name, enough, WALSENDERS_MIN.to_string(), reason);
    }
    need(
        "wal_keep_size",
        number("wal_keep_size") > 0,
        "128MB".to_owned(),
        "A cushion of recent WAL for a standby whose slot was lost.",
    );
    need(
        "hot_standby",
        facts.value("hot_standby") == "on",
        "on".to_owned(),
        "A standby answers reads; this server may come to be one.",
    );
    let bound = &wish.slot_bound;
    need(
        &bound.name,
        number(&bound.name) >= 0,
        bound.value.clone(),
        &bound.reason,
    );
    need(
        "wal_log_hints",
        facts.value("data_checksums") == "on" || facts.value("wal_log_hints") == "on",
        "on".to_owned(),
        "Without data checksums, a former primary can only be rewound with this.",
    );
    let listen = listen_addresses(facts.value("listen_addresses"), wish.addresses);
    need(
        "listen_addresses",
        listen.is_none(),
        listen.unwrap_or_default(),
        "Where the other nodes reach this one, besides what was there.",
    );
    if let Some((manada, directory)) = wish.archive {
        let ours = managed::archive(manada, directory)?;
        let present_command = present.value("archive_command");
        let command = facts.value("archive_command");
        let in_use = facts.value("archive_mode") != "off"
            && !["", "(disabled)"].contains(&command)
            && present_command != Some(command);
        if in_use {
            return Err(Unfit::ArchiveInUse {
                command: command.to_owned(),
            }
            .into());
        }
        for setting in ours {
            settings.set(setting);
        }
    }
    overridden(facts, &settings)?;
    Ok(settings)
}

/// The settings of an adopted server can't be made.
#[derive(Debug, thiserror::Error)]
pub enum AdoptSettingsError {
    /// The server is not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A path can't be written.
    #[error("a path can't be used: {0}")]
    Unquotable(#[from] Unquotable),
}

fn tls(home: &Home) -> [(&'static str, String, &'static str); 4] {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    [
        (
            "ssl",
            "on".to_owned(),
            "Passwords and data cross the network encrypted.",
        ),
        (
            "ssl_cert_file",
            path(home.server_certificate()),
            "This server's certificate, signed by the herd's authority.",
        ),
        ("ssl_key_file", path(home.server_key()), "Its key."),
        (
            "ssl_ca_file",
            path(home.ca_certificate()),
            "The herd's authority: the other nodes show its certificates.",
        ),
    ]
}

/// Proves that nobody loses a certificate that matters.
fn certificate(facts: &Facts, wish: &Wish<'_>) -> Result<(), Unfit> {
    if facts.value("ssl") != "on" || wish.replace_certificate {
        return Ok(());
    }
    let certificate = Path::new(facts.value("ssl_cert_file"));
    let authority = facts.value("ssl_ca_file");
    let certificate_is_ours = certificate == wish.home.server_certificate();
    let replaceable = certificate_is_ours || certificate == Path::new(SNAKEOIL);
    if !replaceable {
        return Err(Unfit::ForeignCertificate {
            path: certificate.to_path_buf(),
        });
    }
    if !authority.is_empty() && Path::new(authority) != wish.home.ca_certificate() {
        return Err(Unfit::ForeignCertificate {
            path: authority.into(),
        });
    }
    Ok(())
}

/// `listen_addresses` with what is missing in it; `None` where nothing is.
fn listen_addresses(current: &str, addresses: &[HostAddress]) -> Option<String> {
    let entries: Vec<&str> = current
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .collect();
    let covered = |address: &HostAddress| {
        let all = match address.ip() {
            Some(IpAddr::V4(_)) => ["*", "0.0.0.0"].as_slice(),
            Some(IpAddr::V6(_)) => ["*", "::"].as_slice(),
            None => ["*", "0.0.0.0", "::"].as_slice(),
        };
        entries.iter().any(|entry| all.contains(entry))
            || entries.contains(&address.to_string().as_str())
            || (managed::is_localhost(address) && entries.contains(&"localhost"))
    };
    let missing: Vec<&HostAddress> = addresses.iter().filter(|it| !covered(it)).collect();
    if missing.is_empty() {
        return None;
    }
    let (own, _) = managed::listen_addresses(addresses);
    if own == "*" {
        return Some(own);
    }
    let added = missing.iter().map(ToString::to_string);
    let all: Vec<String> = entries
        .iter()
        .map(|entry| (*entry).to_owned())
        .chain(added)
        .collect();
    Some(all.join(", "))
}

/// Proves that no setting would be in vain.
fn overridden(facts: &Facts, settings: &ManagedSettings) -> Result<(), Unfit> {
    for setting in settings.iter() {
        let Some(current) = facts.settings.get(&setting.name) else {
            continue;
        };
        let by = if current.by_alter_system {
            OverriddenBy::AlterSystem
        } else if current.source == "command line" {
            OverriddenBy::CommandLine
        } else {
            continue;
        };
        if current.value != setting.value {
            return Err(Unfit::Overridden {
                name: setting.name.clone(),
                value: current.value.clone(),
                wanted: setting.value.clone(),
                by,
            });
        }
    }
    Ok(())
}

/// The settings that are not in the file yet.
pub(super) fn setting_changes(
    facts: &Facts,
    present: &ManagedSettings,
    settings: &ManagedSettings,
) -> Vec<Change> {
    settings
        .iter()
        .filter(|setting| present.value(&setting.name) != Some(setting.value.as_str()))
        .map(|setting| Change::Setting {
            name: setting.name.clone(),
            old: facts.value(&setting.name).to_owned(),
            new: setting.value.clone(),
            reason: setting.reason.clone(),
            restart: facts
                .settings
                .get(&setting.name)
                .is_some_and(|current| current.needs_restart() && current.value != setting.value),
        })
        .collect()
}

/// The settings that are, or will be, in the file and not in force before a restart.
pub(super) fn waiting_for_restart(facts: &Facts, settings: &ManagedSettings) -> Vec<Setting> {
    settings
        .iter()
        .filter(|setting| {
            facts
                .settings
                .get(&setting.name)
                .is_some_and(|current| current.needs_restart() && current.value != setting.value)
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::CurrentSetting;
    use super::*;
    use std::collections::BTreeMap;

    fn facts(settings: &[(&str, &str, &str)]) -> Facts {
        let debian = [
            ("ssl", "on", "sighup"),
            ("ssl_cert_file", SNAKEOIL, "sighup"),
            ("ssl_ca_file", "", "sighup"),
            ("wal_level", "replica", "postmaster"),
            ("max_wal_senders", "10", "postmaster"),
            ("max_replication_slots", "10", "postmaster"),
            ("wal_keep_size", "0", "sighup"),
            ("hot_standby", "on", "postmaster"),
            ("max_slot_wal_keep_size", "-1", "sighup"),
            ("data_checksums", "off", "internal"),
            ("wal_log_hints", "off", "postmaster"),
            ("listen_addresses", "localhost", "postmaster"),
            ("archive_mode", "off", "postmaster"),
            ("archive_command", "(disabled)", "sighup"),
        ];
        let settings = debian
            .iter()
            .chain(settings)
            .map(|(name, value, context)| {
                let current = CurrentSetting {
                    value: (*value).to_owned(),
                    context: (*context).to_owned(),
                    source: "configuration file".to_owned(),
                    by_alter_system: false,
                };
                ((*name).to_owned(), current)
            })
            .collect();
        Facts {
            version: manada_model::ServerVersion(150_018),
            system_identifier: manada_model::SystemIdentifier(7),
            superuser: "postgres".to_owned(),
            is_superuser: true,
            in_recovery: false,
            config_file: "/etc/postgresql/15/main/postgresql.conf".into(),
            hba_file: "/etc/postgresql/15/main/pg_hba.conf".into(),
            data_directory: "/var/lib/postgresql/15/main".into(),
            port: 5432,
            settings,
            roles: BTreeMap::new(),
            schema: None,
            admit_source: None,
        }
    }

    fn planned(facts: &Facts, present: &ManagedSettings) -> Result<ManagedSettings, Unfit> {
        let home = Home::at(Path::new("/var/lib/manada/main/db1")).expect("absolute");
        let wish = Wish {
            home: &home,
            addresses: &["127.0.0.2".parse().expect("an address")],
            replace_certificate: false,
            archive: Some((Path::new("/usr/bin/manada"), Path::new("/srv/archive"))),
            slot_bound: Setting::new("max_slot_wal_keep_size", "20GB", "Because."),
        };
        settings(facts, present, &wish).map_err(|error| match error {
            AdoptSettingsError::Unfit(unfit) => unfit,
            AdoptSettingsError::Unquotable(_) => panic!("all is quotable"),
        })
    }

    #[test]
    fn a_debian_server_keeps_what_is_good_enough() {
        let facts = facts(&[]);
        let none = ManagedSettings::new();
        let settings = planned(&facts, &none).expect("fit");
        let changes: Vec<String> = setting_changes(&facts, &none, &settings)
            .into_iter()
            .map(|change| match change {
                Change::Setting {
                    name,
                    old,
                    new,
                    restart,
                    ..
                } => {
                    format!(
                        "{name}: {old} -> {new}{}",
                        if restart { " (restart)" } else { "" }
                    )
                }
                other => panic!("{other:?}"),
            })
            .collect();
        insta::assert_snapshot!(changes.join("\n"), @r"
        ssl: on -> on
        ssl_cert_file: /etc/ssl/certs/ssl-cert-snakeoil.pem -> /var/lib/manada/main/db1/tls/server.crt
        ssl_key_file:  -> /var/lib/manada/main/db1/tls/server.key
        ssl_ca_file:  -> /var/lib/manada/main/db1/tls/ca.crt
        wal_keep_size: 0 -> 128MB
        max_slot_wal_keep_size: -1 -> 20GB
        wal_log_hints: off -> on (restart)
        listen_addresses: localhost -> localhost, 127.0.0.2 (restart)
        archive_mode: off -> on (restart)
        archive_command: (disabled) -> /usr/bin/manada wal push %p --archive /srv/archive
        restore_command:  -> /usr/bin/manada wal fetch %f %p --archive /srv/archive
        recovery_target_timeline:  -> latest
        ");
        // The second time there is nothing to add, and the restart is still waited for.
        let again = planned(&facts, &settings).expect("fit");
        assert_eq!(again, settings);
        assert_eq!(setting_changes(&facts, &settings, &again), []);
        assert_eq!(waiting_for_restart(&facts, &again).len(), 3);
    }

    #[test]
    fn what_others_rely_on_is_not_taken_away() {
        let case = |name, value| {
            let none = ManagedSettings::new();
            planned(&facts(&[(name, value, "sighup")]), &none).expect_err(name)
        };
        assert!(matches!(
            case("ssl_cert_file", "/etc/ssl/certs/db.pem"),
            Unfit::ForeignCertificate { .. }
        ));
        assert!(matches!(
            case("ssl_ca_file", "/etc/ssl/clients.pem"),
            Unfit::ForeignCertificate { .. }
        ));
        let archiving = facts(&[
            ("archive_mode", "on", "postmaster"),
            ("archive_command", "pgbackrest push %p", "sighup"),
        ]);
        assert!(matches!(
            planned(&archiving, &ManagedSettings::new()),
            Err(Unfit::ArchiveInUse { .. })
        ));
        let mut altered = facts(&[("listen_addresses", "localhost", "postmaster")]);
        altered
            .settings
            .get_mut("listen_addresses")
            .expect("there")
            .by_alter_system = true;
        assert!(matches!(
            planned(&altered, &ManagedSettings::new()),
            Err(Unfit::Overridden {
                by: OverriddenBy::AlterSystem,
                ..
            })
        ));
    }

    #[test]
    fn a_role_of_somebody_elses_is_left_alone() {
        let with = |roles: &[(&str, &str)]| {
            let mut facts = facts(&[]);
            let owned =
                |(name, comment): &(&str, &str)| ((*name).to_owned(), (*comment).to_owned());
            facts.roles = roles.iter().map(owned).collect();
            replication_role(&facts)
        };
        assert_eq!(with(&[]), Ok("replicator"));
        assert_eq!(with(&[("replicator", "manada: x")]), Ok("replicator"));
        assert_eq!(with(&[("replicator", "")]), Ok("manada_replicator"));
        assert!(with(&[("manada_join", "")]).is_err());
    }
}
