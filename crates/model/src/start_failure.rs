//! Why a server does not start.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reason for which servers do not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailure {
    /// Another program listens on the port.
    PortTaken,
    /// An address to listen on is not this machine's.
    ForeignAddress,
    /// The socket's directory is missing or not writable.
    SocketDirectory,
    /// The file system is full.
    DiskFull,
    /// The file system is read-only.
    ReadOnly,
    /// A file or directory is closed to the server's user, or open to others.
    Permissions,
    /// Processes of a server that died still use its shared memory.
    SharedMemoryInUse,
    /// Not enough shared memory or semaphores.
    SharedMemoryExhausted,
    /// Another server runs on the directory.
    AlreadyRunning,
    /// The directory was made by another major version, or is damaged.
    WrongVersion,
    /// The configuration has a mistake.
    Configuration,
    /// A setting is smaller than the primary's.
    LimitsBelowPrimary,
    /// It gave up before it came to its data, for another reason.
    BeforeItsData,
    /// The server program was not even run.
    NotRun,
    /// None of these: its data may be broken.
    Other,
}

/// Why a server did not start, and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StartTrouble {
    /// What it is.
    pub failure: StartFailure,
    /// The server's own words, on one line; empty where it said nothing.
    pub said: String,
}

impl StartFailure {
    /// Whether the server's data may be what is wrong, so that other data could help. Where it is not,
    /// the server starts when its configuration or its host is mended.
    pub fn may_be_of_data(self) -> bool {
        match self {
            StartFailure::Other => true,
            StartFailure::PortTaken
            | StartFailure::ForeignAddress
            | StartFailure::SocketDirectory
            | StartFailure::DiskFull
            | StartFailure::ReadOnly
            | StartFailure::Permissions
            | StartFailure::SharedMemoryInUse
            | StartFailure::SharedMemoryExhausted
            | StartFailure::AlreadyRunning
            | StartFailure::WrongVersion
            | StartFailure::Configuration
            | StartFailure::LimitsBelowPrimary
            | StartFailure::BeforeItsData
            | StartFailure::NotRun => false,
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartFailure::PortTaken => {
                "another program listens on its port: choose a free one, or stop that program"
            }
            StartFailure::ForeignAddress => {
                "an address in listen_addresses is not one of this machine's: correct it"
            }
            StartFailure::SocketDirectory => {
                "its socket's directory is missing or closed to it: set unix_socket_directories to a directory the server's user can write to"
            }
            StartFailure::DiskFull => "its file system is full: free space there, then start it again",
            StartFailure::ReadOnly => "its file system is read-only: remount it writable",
            StartFailure::Permissions => {
                "a file is closed to the server's user, or open to others: see which one below"
            }
            StartFailure::SharedMemoryInUse => {
                "processes of a server that died still use its shared memory: end them, then start it again"
            }
            StartFailure::SharedMemoryExhausted => {
                "there is not enough shared memory or too few semaphores: lower shared_buffers or max_connections"
            }
            StartFailure::AlreadyRunning => "another server runs on this directory",
            StartFailure::WrongVersion => {
                "the directory was made by another major version of PostgreSQL: use that version's programs"
            }
            StartFailure::Configuration => "its configuration has a mistake: see which one below",
            StartFailure::LimitsBelowPrimary => {
                "one of its limits is below the primary's: raise the setting named below"
            }
            StartFailure::BeforeItsData => "it gave up before it came to its data: see why below",
            StartFailure::NotRun => "its program could not be run: see why below",
            StartFailure::Other => "see the end of its log below",
        })
    }
}
