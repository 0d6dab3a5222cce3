//! Why an order about the server was not carried out.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use manada_core::obstacle::ForeignSetting;
use manada_herd::ServerFilesError;
use manada_herd::power::StartNodeError;
use manada_model::{NodeName, StartFailure, StartTrouble};
use manada_postgres::ConnectError;
use manada_postgres::os_user::OsUserError;
use manada_postgres::process::{RunningError, SignalError, StopError};
use manada_postgres::quote::Unquotable;
use manada_postgres::replace_file::ReplaceFileError;
use manada_postgres::session::{CancelError, server_message};
use manada_postgres::settings::SettingsError;

use crate::wording;

/// An order about the server was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It is not about the server.
    #[error("the order is not about the server")]
    NotOurs,
    /// It took too long, and what it has come to is to be seen.
    #[error("the server has not done it within {} s", within.as_secs())]
    TimedOut {
        /// How long it was given.
        within: Duration,
    },
    /// An order came in between, which matters more.
    #[error("an order came in between")]
    GaveWay,
    /// No server runs that could do it.
    #[error("the server does not run")]
    NotRunning,
    /// The server is a primary where a standby is needed, or the other way round.
    #[error("the server is {found}, which can't {action}")]
    WrongState {
        /// What was attempted.
        action: &'static str,
        /// What the server is.
        found: &'static str,
    },
    /// The leader is none of the members that this host knows.
    #[error("no member {name} is known on this host")]
    UnknownMember {
        /// Whom the order names.
        name: NodeName,
    },
    /// A policy that is nobody's order can't be put in force.
    #[error("only a policy, or a wait for nobody, can be put in force")]
    ForeignPolicy,
    /// Its user can't be told.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// Whether it runs can't be told.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// There is no session with it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refused a statement, or the session broke.
    #[error("can't {action}: {}", server_message(source))]
    Sql {
        /// What was attempted.
        action: &'static str,
        /// The server's word.
        source: tokio_postgres::Error,
    },
    /// A wait could not be ended.
    #[error(transparent)]
    Cancel(#[from] CancelError),
    /// A name or path can't be written where it must be.
    #[error("a name or path can't be used: {0}")]
    Unquotable(#[from] Unquotable),
    /// `manada.conf`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Another of its configuration files.
    #[error(transparent)]
    Files(#[from] ServerFilesError),
    /// A file of the node can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
    /// A file or directory of the node.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It could not be told to read its settings again.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// It has not read its settings again.
    #[error("the server has not read its settings again within {} s", within.as_secs())]
    NotRead {
        /// How long was waited.
        within: Duration,
    },
    /// Somebody else sets what commits wait for, and wins over `manada.conf`.
    #[error(
        "commits wait for {:?}, which is not what the herd orders: {} sets it, and wins over \
         manada.conf",
        setting.value,
        wording::place(&setting.place)
    )]
    Foreign {
        /// Who and what.
        setting: ForeignSetting,
    },
    /// Somebody else's setting wins over the one in `manada.conf`.
    #[error(
        "the setting {name} is {shown:?}, although manada.conf says otherwise: see pg_settings for who sets it"
    )]
    Overridden {
        /// The parameter.
        name: &'static str,
        /// What is in force.
        shown: String,
    },
    /// The server keeps its former access rules, because the new ones have a mistake.
    #[error("the access rules have a mistake, so that none of them is in force: {mistakes}")]
    AccessRules {
        /// What the server says, with the lines' numbers.
        mistakes: String,
    },
    /// Commits could not be shown to wait.
    #[error("commits could not be shown to wait within {} s", within.as_secs())]
    NotWaiting {
        /// How long was tried.
        within: Duration,
    },
    /// It is not a primary yet.
    #[error("the server is not a primary {} s after it was told to be", within.as_secs())]
    NotPromoted {
        /// How long was waited.
        within: Duration,
    },
    /// The data directory is neither what it was nor what it shall be.
    #[error("a rejoin was begun and has not ended: the data is no server's until one has")]
    RejoinUnfinished,
    /// WAL that only another node has did not come.
    #[error("the WAL that only {from} has was not fetched within {} s", within.as_secs())]
    NotFetched {
        /// Who has it.
        from: NodeName,
        /// How long was waited.
        within: Duration,
    },
    /// The data was not brought into the leader's history.
    #[error(transparent)]
    Rejoin(#[from] super::rejoin::RejoinError),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartNodeError),
    /// It did not stop.
    #[error(transparent)]
    Stop(#[from] StopError),
}

impl OrderError {
    /// What kept the server from starting, where this came of it: whatever was in the way before its
    /// program was run is not about its data.
    pub(crate) fn trouble(&self) -> StartTrouble {
        match self {
            OrderError::Start(error) => error.trouble(),
            other => StartTrouble {
                failure: StartFailure::NotRun,
                said: other.to_string(),
            },
        }
    }

    pub(super) fn sql(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> OrderError {
        move |source| OrderError::Sql { action, source }
    }

    pub(super) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> OrderError {
        let path = path.to_path_buf();
        move |source| OrderError::Io {
            action,
            path,
            source,
        }
    }
}
