//! Telling a running server something: read your configuration again, become the primary.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::running::{HeldServer, RunningError, hold};
use crate::control_file::{ControlFile, ControlFileError, DatabaseState};
use crate::os_user::{OsUser, OsUserError};

/// How long a promotion is waited for where the caller has no reason for another bound; as
/// `pg_ctl` does.
pub const PROMOTED_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks at a server that is being promoted.
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// A server could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// None runs.
    #[error("no server runs on {}", data_directory.display())]
    NotRunning {
        /// The data directory.
        data_directory: PathBuf,
    },
    /// It can't be told whether one runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// It takes no signal from us.
    #[error("can't signal the server on {} (process {pid}): run this as its user or as root", data_directory.display())]
    Signal {
        /// The data directory.
        data_directory: PathBuf,
        /// The server's process.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
}

/// A standby was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// It could not be told to.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// Its state can't be read.
    #[error(transparent)]
    ControlFile(#[from] ControlFileError),
    /// It is nobody's to promote.
    #[error("the server on {} is no standby: its state is {state:?}", data_directory.display())]
    NotAStandby {
        /// The data directory.
        data_directory: PathBuf,
        /// What it is.
        state: DatabaseState,
    },
    /// Its owner can't be told.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The request can't be left in its directory.
    #[error("can't create {}", path.display())]
    Request {
        /// `promote`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended instead.
    #[error("the server on {} ended while it was being promoted: see its log", data_directory.display())]
    Ended {
        /// The data directory.
        data_directory: PathBuf,
    },
    /// It is taking longer than it was given; it goes on.
    #[error(
        "the server on {} is not a primary {} s after it was asked: it goes on replaying what it has received",
        data_directory.display(),
        within.as_secs()
    )]
    StillReplaying {
        /// The data directory.
        data_directory: PathBuf,
        /// How long was waited.
        within: Duration,
    },
}

/// Has the server read its configuration again (SIGHUP). It does so a moment later:
/// `pg_conf_load_time()` tells when.
pub fn reload(data_directory: &Path) -> Result<(), SignalError> {
    send(&held(data_directory)?, Signal::HUP)
}

/// Makes a standby a primary and waits until it is one, at most `within`. Tells how long it took.
pub fn promote(data_directory: &Path, within: Duration) -> Result<Duration, PromoteError> {
    let asked_at = Instant::now();
    let held = held(data_directory)?;
    let owned = || data_directory.to_path_buf();
    match ControlFile::read(data_directory)?.state {
        DatabaseState::InArchiveRecovery => {}
        state @ (DatabaseState::Starting
        | DatabaseState::ShutDown
        | DatabaseState::ShutDownInRecovery
        | DatabaseState::ShuttingDown
        | DatabaseState::InCrashRecovery
        | DatabaseState::InProduction) => {
            let data_directory = owned();
            return Err(PromoteError::NotAStandby {
                data_directory,
                state,
            });
        }
    }
    leave_request(data_directory)?;
    send(&held, Signal::USR1)?;
    loop {
        if ControlFile::read(data_directory)?.state == DatabaseState::InProduction {
            return Ok(asked_at.elapsed());
        }
        let data_directory = owned();
        if has_ended(&held)? {
            return Err(PromoteError::Ended { data_directory });
        }
        if asked_at.elapsed() >= within {
            return Err(PromoteError::StillReplaying {
                data_directory,
                within,
            });
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn held(data_directory: &Path) -> Result<HeldServer, SignalError> {
    hold(data_directory)?.ok_or_else(|| SignalError::NotRunning {
        data_directory: data_directory.to_path_buf(),
    })
}

fn send(held: &HeldServer, signal: Signal) -> Result<(), SignalError> {
    held.signal(signal)
        .map_err(|source| signal_error(held, source))
}

fn has_ended(held: &HeldServer) -> Result<bool, SignalError> {
    held.wait_for_end(Duration::ZERO)
        .map_err(|source| signal_error(held, source))
}

fn signal_error(held: &HeldServer, source: io::Error) -> SignalError {
    SignalError::Signal {
        data_directory: held.server.data_directory.clone(),
        pid: held.server.pid,
        source,
    }
}

/// `promote`, which the server looks for when it is signalled. One that is there already
/// is as good; a link in its place is not followed.
fn leave_request(data_directory: &Path) -> Result<(), PromoteError> {
    let user = OsUser::of_data_directory(data_directory)?;
    let path = data_directory.join("promote");
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|_| user.own(&path));
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|source| PromoteError::Request { path, source }),
    }
}
