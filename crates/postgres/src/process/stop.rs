//! Stopping a server, and being sure that it has stopped.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

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

/// How long killed processes are waited for: the kernel ends them at once, unless they are in the
/// middle of a write that the disk does not answer.
const KILLED_WITHIN: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// Stops the server on `data_directory` at once, without a checkpoint; what has not ended within
/// `patience` is killed, processes that are stopped or hang included. When this returns `Ok`, no
/// process of the server is left.
pub fn end_at_once(data_directory: &Path, patience: Duration) -> Result<Stopped, StopError> {
    let asked_at = Instant::now();
    let Some(held) = hold(data_directory)? else {
        return Ok(Stopped::WasNotRunning);
    };
    let pid = held.server.pid;
    let signal_error = |source| StopError::Signal {
        data_directory: data_directory.to_path_buf(),
        pid,
        source,
    };
    let ended =
        |error: &io::Error| error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
    for (signal, patience) in [(Signal::QUIT, patience), (Signal::KILL, KILLED_WITHIN)] {
        match held.signal(signal) {
            Err(error) if !ended(&error) => return Err(signal_error(error)),
            Ok(()) | Err(_) => {}
        }
        if held.wait_for_end(patience).map_err(signal_error)? {
            break;
        }
    }
    end_children(data_directory, pid, asked_at, patience + KILLED_WITHIN)?;
    Ok(Stopped::After(asked_at.elapsed()))
}

/// Ends what a postmaster that was killed has left behind: a session that computes does not look
/// whether it is still there, and no server starts as long as its memory is in use. Where a server
/// runs, nothing is done.
pub fn end_orphans(data_directory: &Path) -> Result<(), StopError> {
    if !data_directory.exists() || hold(data_directory)?.is_some() {
        return Ok(());
    }
    end_children(data_directory, 0, Instant::now(), KILLED_WITHIN)
}

/// Children end with their postmaster, unless they are stopped or don't get to look.
fn end_children(
    data_directory: &Path,
    pid: i32,
    asked_at: Instant,
    within: Duration,
) -> Result<(), StopError> {
    loop {
        let left = processes_of(data_directory).map_err(|source| StopError::Signal {
            data_directory: data_directory.to_path_buf(),
            pid,
            source,
        })?;
        if left.is_empty() {
            return Ok(());
        }
        if asked_at.elapsed() >= within {
            return Err(StopError::StillRunning {
                data_directory: data_directory.to_path_buf(),
                pid: left[0].as_raw_nonzero().get(),
                within,
            });
        }
        for process in left {
            // One that has just ended is as good.
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// The server processes that work in a data directory, as all of a server's do, and nothing else.
pub(super) fn processes_of(data_directory: &Path) -> io::Result<Vec<Pid>> {
    let directory = fs::metadata(data_directory)?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let pid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        // What can't be looked at is another user's, or has ended.
        let works_there = fs::metadata(path.join("cwd"))
            .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (directory.dev(), directory.ino()));
        let is_server = || {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == "postgres")
        };
        if works_there && is_server() {
            found.push(pid);
        }
    }
    Ok(found)
}
