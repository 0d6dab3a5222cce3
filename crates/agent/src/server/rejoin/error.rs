//! Why a node did not come back.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use manada_model::TimelineId;
use manada_postgres::ConnectError;
use manada_postgres::control_file::ControlFileError;
use manada_postgres::replace_file::ReplaceFileError;
use manada_postgres::session::server_message;
use manada_wal::clone::CloneError;

/// A node's data was not brought into its leader's history.
#[derive(Debug, thiserror::Error)]
pub enum RejoinError {
    /// A file or directory.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
    /// What the data is can't be told.
    #[error(transparent)]
    ControlFile(#[from] ControlFileError),
    /// There is no place for what has to be kept.
    #[error(
        "{} has {free_bytes} bytes free, and {what} takes {needed_bytes}: make room there, or remove this node and join it again",
        path.display()
    )]
    NoRoom {
        /// What has to be kept.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// How much it is.
        needed_bytes: u64,
        /// How much is free.
        free_bytes: u64,
    },
    /// A rewind was broken off: its data is of no use but for a clone to replace it.
    #[error("a rewind was broken off: only a clone helps now")]
    BrokenOff,
    /// What a rewound server needs first was recycled.
    #[error(
        "the leader no longer has the WAL {segment}, with which the rewound data would recover: only a clone helps now"
    )]
    WalGone {
        /// The file.
        segment: String,
    },
    /// The server's programs came without it.
    #[error("{} is not there: only a clone helps", path.display())]
    NoProgram {
        /// Where it would be.
        path: PathBuf,
    },
    /// Changes of hint bits are not in the WAL.
    #[error("the data has neither checksums nor wal_log_hints: only a clone helps")]
    NotRewindable,
    /// Two servers were promoted apart to the same timeline: a rewind would see no difference.
    #[error("the leader is on timeline {timeline} too, with another history: only a clone helps")]
    SameTimeline {
        /// That one.
        timeline: TimelineId,
    },
    /// A rewind copies all WAL that the leader keeps, also what both have.
    #[error(
        "a rewind would copy {wal_bytes} bytes of WAL, and a clone {database_bytes} bytes of data: a clone is quicker"
    )]
    MoreThanAClone {
        /// What is in the leader's `pg_wal`.
        wal_bytes: u64,
        /// What is in its databases.
        database_bytes: u64,
    },
    /// The leader does not let this node in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The leader does not answer as it should.
    #[error("asking the leader: {}", server_message(source))]
    Sql {
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// The leader took too long.
    #[error("the leader did not answer within {} s", within.as_secs())]
    Silent {
        /// How long was waited.
        within: Duration,
    },
    /// The program failed.
    #[error("pg_rewind failed ({status}): {said}")]
    Rewind {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// The program took too long, and was ended.
    #[error("pg_rewind did not end within {} s", within.as_secs())]
    RewindHangs {
        /// How long it was given.
        within: Duration,
    },
    /// The data could not be copied.
    #[error(transparent)]
    Clone(#[from] CloneError),
}

impl RejoinError {
    pub(super) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> RejoinError + use<> {
        let path = path.to_path_buf();
        move |source| RejoinError::Io {
            action,
            path,
            source,
        }
    }
}
