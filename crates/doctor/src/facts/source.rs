//! Where a fact is read, what a role needs for it, and what it is when it can't be had.

use std::fmt;

use serde::{Serialize, Serializer};

/// A view, a function or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The session itself.
    Connection,
    /// `pg_settings`.
    Settings,
    /// The rows and columns of `pg_settings` that are not for everybody.
    RestrictedSettings,
    /// `pg_file_settings`.
    ConfigFiles,
    /// `pg_hba_file_rules`.
    AccessRules,
    /// `pg_db_role_setting`.
    RoleSettings,
    /// `pg_authid`.
    Passwords,
    /// `pg_replication_slots`.
    Slots,
    /// `pg_stat_replication` and `pg_stat_ssl`.
    WalSenders,
    /// `pg_stat_wal_receiver`.
    WalReceiver,
    /// The recovery information functions and `pg_control_*()`.
    Recovery,
    /// The timeline's history file in `pg_wal`.
    History,
    /// `pg_stat_archiver`.
    Archiver,
    /// `pg_ls_archive_statusdir()`.
    ArchiveQueue,
    /// The file system under `pg_wal`.
    WalDisk,
    /// `pg_database`.
    Databases,
    /// `pg_class` of every database.
    Relations,
    /// `pg_stat_activity`.
    Activity,
    /// `pg_prepared_xacts`.
    PreparedTransactions,
    /// `clock_timestamp()`.
    Clock,
    /// The certificate shown in the TLS handshake.
    Certificate,
}

/// What a role needs to read a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Every role may.
    Anyone,
    /// `pg_monitor`.
    Monitor,
    /// Superuser, or a view and its function granted.
    Granted {
        /// The view.
        view: &'static str,
        /// The function under it.
        function: &'static str,
    },
    /// Superuser, or the right to call `pg_read_file`.
    ReadFiles,
    /// Superuser.
    Superuser,
    /// CONNECT on the database.
    Connect,
    /// To run on the server's host as a user who may enter the data directory.
    SameHost,
}

impl Source {
    /// What it is called in PostgreSQL.
    pub fn name(self) -> &'static str {
        match self {
            Source::Connection => "a session",
            Source::Settings => "pg_settings",
            Source::RestrictedSettings => "pg_settings (restricted entries)",
            Source::ConfigFiles => "pg_file_settings",
            Source::AccessRules => "pg_hba_file_rules",
            Source::RoleSettings => "pg_db_role_setting",
            Source::Passwords => "pg_authid",
            Source::Slots => "pg_replication_slots",
            Source::WalSenders => "pg_stat_replication",
            Source::WalReceiver => "pg_stat_wal_receiver",
            Source::Recovery => "pg_control_recovery()",
            Source::History => "the timeline's history file",
            Source::Archiver => "pg_stat_archiver",
            Source::ArchiveQueue => "pg_ls_archive_statusdir()",
            Source::WalDisk => "the file system of pg_wal",
            Source::Databases => "pg_database",
            Source::Relations => "pg_class",
            Source::Activity => "pg_stat_activity",
            Source::PreparedTransactions => "pg_prepared_xacts",
            Source::Clock => "clock_timestamp()",
            Source::Certificate => "the TLS handshake",
        }
    }

    /// What a role needs for it.
    pub fn right(self) -> Right {
        match self {
            Source::Connection
            | Source::Settings
            | Source::RoleSettings
            | Source::Slots
            | Source::Recovery
            | Source::Archiver
            | Source::Databases
            | Source::PreparedTransactions
            | Source::Clock
            | Source::Certificate => Right::Anyone,
            Source::RestrictedSettings
            | Source::WalSenders
            | Source::WalReceiver
            | Source::ArchiveQueue
            | Source::Activity => Right::Monitor,
            Source::ConfigFiles => Right::Granted {
                view: "pg_file_settings",
                function: "pg_show_all_file_settings()",
            },
            Source::AccessRules => Right::Granted {
                view: "pg_hba_file_rules",
                function: "pg_hba_file_rules()",
            },
            Source::History => Right::ReadFiles,
            Source::Passwords => Right::Superuser,
            Source::Relations => Right::Connect,
            Source::WalDisk => Right::SameHost,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Anyone => f.write_str("any role"),
            Right::Monitor => f.write_str("a member of pg_monitor"),
            Right::Granted { view, function } => write!(
                f,
                "a superuser, or GRANT SELECT ON {view} and GRANT EXECUTE ON FUNCTION {function}"
            ),
            Right::ReadFiles => f.write_str(
                "a superuser, or a member of pg_read_server_files with EXECUTE on pg_read_file",
            ),
            Right::Superuser => f.write_str("a superuser"),
            Right::Connect => f.write_str("CONNECT on every database"),
            Right::SameHost => f.write_str(
                "to run on the server's own host, as root or as the user who runs the server",
            ),
        }
    }
}

/// A fact, or why it is not known.
#[derive(Clone, Debug)]
pub struct Fact<T>(Result<T, Unknown>);

/// A fact that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    source: Source,
    why: Why,
}

/// Why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The role may not read it.
    Denied,
    /// Reading it went wrong.
    Failed(String),
    /// No server was reached.
    NoServer,
    /// No primary was reached.
    NoPrimary,
    /// No standby was reached.
    NoStandby,
}

impl<T> Fact<T> {
    /// A known fact.
    pub fn known(value: T) -> Fact<T> {
        Fact(Ok(value))
    }

    /// A fact that is not known.
    pub fn unknown(source: Source, why: Why) -> Fact<T> {
        Fact(Err(Unknown { source, why }))
    }

    /// The fact; `?` on it makes a rule not checked.
    pub fn get(&self) -> Result<&T, Unknown> {
        self.0.as_ref().map_err(Clone::clone)
    }

    /// The fact with another value.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        Fact(self.0.map(change))
    }
}

impl<T> From<Result<T, Unknown>> for Fact<T> {
    fn from(fact: Result<T, Unknown>) -> Fact<T> {
        Fact(fact)
    }
}

impl Unknown {
    /// What can't be had, and why.
    pub fn new(source: Source, why: Why) -> Unknown {
        Unknown { source, why }
    }

    /// Where it would be read.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Why it is not known.
    pub fn why(&self) -> &Why {
        &self.why
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Denied => write!(f, "{} needs {}", self.source.name(), self.source.right()),
            Why::Failed(reason) => write!(f, "{}: {reason}", self.source.name()),
            Why::NoServer => f.write_str("no server was reached"),
            Why::NoPrimary => f.write_str("no primary was reached"),
            Why::NoStandby => f.write_str("no standby was reached"),
        }
    }
}

/// As people read it: a program tells by `source`.
impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Unknown", 3)?;
        object.serialize_field("source", self.source.name())?;
        let kind = match &self.why {
            Why::Denied => "denied",
            Why::Failed(_) => "failed",
            Why::NoServer => "no_server",
            Why::NoPrimary => "no_primary",
            Why::NoStandby => "no_standby",
        };
        object.serialize_field("kind", kind)?;
        object.serialize_field("reason", &self.to_string())?;
        object.end()
    }
}
