//! Stopping a server, and being sure that it has stopped.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::running::{RunningError, hold};

/// How long a server is given to stop where the caller has no reason for another bound; as
/// `pg_ctl` does.
pub const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// How a server is asked to stop: PostgreSQL's own three ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// When all clients have gone (SIGTERM).
    Smart,
    /// Clients are sent away, then a checkpoint (SIGINT).
    Fast,
    /// At once, without a checkpoint: the next start recovers (SIGQUIT).
    Immediate,
}

impl StopMode {
    fn signal(self) -> Signal {
        match self {
            StopMode::Smart => Signal::TERM,
            StopMode::Fast => Signal::INT,
            StopMode::Immediate => Signal::QUIT,
        }
    }
}

/// What stopping came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// No server ran.
    WasNotRunning,
    /// The server ended after this time.
    After(Duration),
}

/// A server could not be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// It can't be told whether one runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// It can't be asked.
    #[error("can't ask the server on {} (process {pid}) to stop: run this as its user or as root", data_directory.display())]
    Signal {
        /// The data directory.
        data_directory: PathBuf,
        /// The server's process.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
    /// It is taking longer than it was given.
    #[error(
        "the server on {} (process {pid}) has not stopped within {} s: a standby that lags or a client that stays can hold it up; stop it with mode immediate if that is acceptable",
        data_directory.display(),
        within.as_secs()
    )]
    StillRunning {
        /// The data directory.
        data_directory: PathBuf,
        /// The server's process.
        pid: i32,
        /// How long was waited.
        within: Duration,
    },
}

/// Stops the server on `data_directory` and waits for its end, at most `within`.
pub fn stop(data_directory: &Path, mode: StopMode, within: Duration) -> Result<Stopped, StopError> {
    let Some(held) = hold(data_directory)? else {
        return Ok(Stopped::WasNotRunning);
    };
    let asked_at = Instant::now();
    let pid = held.server.pid;
    let signal_error = |source| StopError::Signal {
        data_directory: data_directory.to_path_buf(),
        pid,
        source,
    };
    match held.signal(mode.signal()) {
        Ok(()) => {}
        // It ended by itself between the proof and the signal.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
        Err(error) => return Err(signal_error(error)),
    }
    if held.wait_for_end(within).map_err(signal_error)? {
        Ok(Stopped::After(asked_at.elapsed()))
    } else {
        Err(StopError::StillRunning {
            data_directory: data_directory.to_path_buf(),
            pid,
            within,
        })
    }
}
