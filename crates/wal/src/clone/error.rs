//! Why a clone was not made, and how to go on.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_model::{Lsn, SlotName, SystemIdentifier, TimelineId, UnsupportedVersion};
use manada_postgres::Endpoint;
use manada_wire::backup_stream::{Archive, BackupStreamError};
use manada_wire::entry_path::{EntryPath, UnsafePath};
use manada_wire::manifest::ManifestError;
use manada_wire::tar::TarError;

use super::inventory::{ENTRIES_MAX, FileFault};
use super::tablespaces::TablespaceFault;
use crate::replication::ReplicationError;

/// A clone was not made. The target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The source is not there, refused, or went away.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The source is another cluster.
    #[error("{endpoint} is cluster {found}, not {expected}")]
    OtherCluster {
        /// The source.
        endpoint: Endpoint,
        /// The cluster that was asked for.
        expected: SystemIdentifier,
        /// The cluster it is.
        found: SystemIdentifier,
    },
    /// The source is too old or too new.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// The source has a setting that PostgreSQL can't have.
    #[error("the source says {name} = {value:?}, which PostgreSQL can't have")]
    StrangeSetting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The slot that was named is not there.
    #[error("the source has no replication slot {slot}")]
    NoSuchSlot {
        /// The slot.
        slot: SlotName,
    },

    /// The target's parent is not there.
    #[error("{} does not exist", parent.display())]
    ParentMissing {
        /// The parent.
        parent: PathBuf,
    },
    /// The target is no directory.
    #[error("{} exists and is not a directory", path.display())]
    TargetNotDirectory {
        /// The target.
        path: PathBuf,
    },
    /// The target has something in it.
    #[error("{} is not empty", path.display())]
    TargetNotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// The target is a file system of its own, so nothing can be renamed to it.
    #[error("{} is a mount point", path.display())]
    TargetIsMountPoint {
        /// The target.
        path: PathBuf,
    },
    /// Only root gives files away.
    #[error("only root can make a data directory that belongs to {owner}")]
    OwnerNeedsRoot {
        /// Who should own it.
        owner: String,
    },
    /// There is less room than the source says it needs.
    #[error(
        "{} has room for {available_bytes} bytes, and the clone takes about {needed_bytes}",
        directory.display()
    )]
    NotEnoughSpace {
        /// Where.
        directory: PathBuf,
        /// What the source estimates.
        needed_bytes: u64,
        /// What is free.
        available_bytes: u64,
    },
    /// The disk is full.
    #[error("the disk is full: {attempt} {}", path.display())]
    DiskFull {
        /// What was attempted.
        attempt: &'static str,
        /// With what.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{attempt} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// With what.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// A tablespace can't be placed.
    #[error("the tablespace at {} can't be placed: {fault}", location.display())]
    Tablespace {
        /// Where it should be.
        location: PathBuf,
        /// Why it can't.
        fault: TablespaceFault,
    },

    /// The backup's messages are malformed.
    #[error(transparent)]
    BackupStream(#[from] BackupStreamError),
    /// The backup's messages are in an order they can't have.
    #[error(transparent)]
    Stream(#[from] StreamFault),
    /// An archive is malformed.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A path may not be used.
    #[error(transparent)]
    UnsafePath(#[from] UnsafePath),
    /// The manifest is malformed or damaged.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file is not as the manifest says.
    #[error("{path} did not arrive as the source's manifest lists it: {fault}")]
    File {
        /// Which.
        path: EntryPath,
        /// How it differs.
        fault: FileFault,
    },
    /// There are more files than can be kept track of.
    #[error("the source has more than {ENTRIES_MAX} files")]
    TooManyEntries,

    /// WAL did not follow what came before.
    #[error("the source sent WAL from {found}, where {expected} is next")]
    WalGap {
        /// What should have come.
        expected: Lsn,
        /// What came.
        found: Lsn,
    },
    /// The source was promoted, or followed another primary, and named no successor.
    #[error("timeline {timeline} ended on the source")]
    TimelineEnded {
        /// Which ended.
        timeline: TimelineId,
    },
    /// The last of the WAL did not come.
    #[error(
        "the files have arrived, but the WAL only up to {received} within {} s",
        limit.as_secs()
    )]
    WalTailTimedOut {
        /// How far it came.
        received: Lsn,
        /// How long was waited.
        limit: Duration,
    },
    /// The files to be placed in the clone could not be made.
    #[error("configuring the clone: {0}")]
    Configure(Box<dyn Error + Send + Sync>),
}

/// A base backup's messages are in an order they can't have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// Bytes of no archive.
    #[error("the source sent data that belongs to no file")]
    DataBeforeArchive,
    /// An archive that was not announced, or came before.
    #[error("the source sent the archive {archive:?}, which it did not announce")]
    UnexpectedArchive {
        /// Which.
        archive: Archive,
    },
    /// Something after the manifest.
    #[error("the source sent more after the manifest")]
    AfterManifest,
    /// No manifest.
    #[error("the source sent no manifest")]
    NoManifest,
    /// A link where none belongs.
    #[error("the source sent a link at {path}, where PostgreSQL has none")]
    UnexpectedLink {
        /// Where.
        path: EntryPath,
    },
    /// The clone was cancelled.
    #[error("the clone was cancelled")]
    Abandoned,
}

impl CloneError {
    pub(super) fn io(attempt: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CloneError::DiskFull { attempt, path }
            }
            _ => CloneError::Io {
                attempt,
                path,
                source,
            },
        }
    }

    pub(super) fn file(path: EntryPath, fault: FileFault) -> Self {
        CloneError::File { path, fault }
    }

    /// What to do, in a sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            CloneError::Replication(
                ReplicationError::Login { .. } | ReplicationError::Refused { .. },
            ) => "Nothing was changed here. Settle on the source what it says, then run it again.",
            CloneError::Replication(_) => {
                "Nothing was changed here. When the source can be reached, run it again."
            }
            CloneError::OtherCluster { .. } => "Check the address: another cluster answers there.",
            CloneError::Version(_) => "Upgrade the source, or clone it with its own tools.",
            CloneError::StrangeSetting { .. }
            | CloneError::BackupStream(_)
            | CloneError::Stream(_)
            | CloneError::Tar(_)
            | CloneError::UnsafePath(_) => {
                "Nothing was changed here. What answers is not a stock PostgreSQL server, or the line to it is damaged: check the address, and use TLS."
            }
            CloneError::NoSuchSlot { .. } => "Let the clone make the slot, or name another.",
            CloneError::ParentMissing { .. } => "Make that directory, or choose another target.",
            CloneError::TargetNotDirectory { .. } | CloneError::TargetNotEmpty { .. } => {
                "Choose another target, or move what is there aside: it is never deleted here."
            }
            CloneError::TargetIsMountPoint { .. } => {
                "Choose a directory within it as the target, such as its subdirectory \"data\"."
            }
            CloneError::OwnerNeedsRoot { .. } => "Run it as that user, or as root.",
            CloneError::NotEnoughSpace { .. } | CloneError::DiskFull { .. } => {
                "Make room or choose another disk, then run it again: what had been received was removed."
            }
            CloneError::Io { .. } => {
                "What had been received was removed. When the cause is gone, run it again."
            }
            CloneError::Tablespace { .. } => {
                "Map the tablespace to an absolute path that is absent or empty, outside of the data directory."
            }
            CloneError::Manifest(_) | CloneError::File { .. } => {
                "What was received was damaged on the way, or on the source's disk, and was removed. Run it again; if it fails with the same file, check the source's disk."
            }
            CloneError::TooManyEntries => "Clone it with PostgreSQL's own pg_basebackup.",
            CloneError::WalGap { .. }
            | CloneError::TimelineEnded { .. }
            | CloneError::WalTailTimedOut { .. } => {
                "What had been received was removed. Check which server is the primary, and run it again."
            }
            CloneError::Configure(_) => "What had been received was removed. Run it again.",
        }
    }
}
