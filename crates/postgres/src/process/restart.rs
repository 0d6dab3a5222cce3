//! Restarting a server the way it was started, by whoever watches over it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::command_line::CommandLine;
use super::pid_file::PostmasterStatus;
use super::running::{RunningError, RunningServer, running};
use super::start::{Launch, StartError, launch};
use super::stop::{STOPPED_WITHIN, StopError, StopMode, stop};
use super::supervisor::Supervisor;

/// Between two looks at a server that somebody else restarts.
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// A server that was restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// The server as it runs now.
    pub server: RunningServer,
    /// Who restarted it; `None` if we did.
    pub by: Option<Supervisor>,
}

/// A server could not be restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// None runs.
    #[error("no server runs on {}", data_directory.display())]
    NotRunning {
        /// The data directory.
        data_directory: PathBuf,
    },
    /// It can't be told whether one runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// It can't be told how it was started.
    #[error("can't tell how the server on {} was started: restart it by hand", data_directory.display())]
    CommandLine {
        /// The data directory.
        data_directory: PathBuf,
        /// What the system said, if anything.
        source: Option<io::Error>,
    },
    /// It did not stop.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// It was stopped and did not start again.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its supervisor can't be asked.
    #[error("can't run {supervisor}")]
    AskSupervisor {
        /// The command.
        supervisor: Supervisor,
        /// What the system said.
        source: io::Error,
    },
    /// Its supervisor refused or failed.
    #[error("{supervisor} failed ({status}): {said}")]
    Supervisor {
        /// The command.
        supervisor: Supervisor,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
    /// Its supervisor said it was done, but the server takes no connections.
    #[error(
        "{supervisor} was done, but the server on {} takes no connections {} s later: see its log",
        data_directory.display(),
        within.as_secs()
    )]
    NotReady {
        /// The command.
        supervisor: Supervisor,
        /// The data directory.
        data_directory: PathBuf,
        /// How long was waited.
        within: Duration,
    },
}

/// Restarts the server on `data_directory` with the command line it has, and waits until it takes
/// connections again, at most `ready_within`. Clients are sent away (fast). A server under
/// systemd or Debian's cluster tools is restarted by them, and logs where they have it log; any
/// other's messages go to the end of `log_file`.
pub fn restart(
    data_directory: &Path,
    log_file: &Path,
    ready_within: Duration,
) -> Result<Restarted, RestartError> {
    let before = running(data_directory)?.ok_or_else(|| RestartError::NotRunning {
        data_directory: data_directory.to_path_buf(),
    })?;
    match Supervisor::of(&before) {
        Some(supervisor) => ask(supervisor, &before, ready_within),
        None => again(&before, log_file, ready_within),
    }
}

fn again(
    before: &RunningServer,
    log_file: &Path,
    ready_within: Duration,
) -> Result<Restarted, RestartError> {
    let data_directory = before.data_directory.as_path();
    let unknown = |source| RestartError::CommandLine {
        data_directory: data_directory.to_path_buf(),
        source,
    };
    // Asked before anything is stopped.
    let line = CommandLine::of(before)
        .map_err(|source| unknown(Some(source)))?
        .ok_or_else(|| unknown(None))?;
    stop(data_directory, StopMode::Fast, STOPPED_WITHIN)?;
    let server = launch(&Launch {
        program: &line.program,
        arguments: &line.arguments_for(data_directory),
        data_directory,
        log_file,
        ready_within,
    })?;
    Ok(Restarted { server, by: None })
}

fn ask(
    supervisor: Supervisor,
    before: &RunningServer,
    ready_within: Duration,
) -> Result<Restarted, RestartError> {
    let (program, arguments) = supervisor.restart_command();
    let output = match Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
    {
        Ok(output) => output,
        Err(source) => return Err(RestartError::AskSupervisor { supervisor, source }),
    };
    if !output.status.success() {
        return Err(RestartError::Supervisor {
            supervisor,
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let deadline = Instant::now() + ready_within;
    loop {
        if let Some(server) = running(&before.data_directory)?
            && (server.pid, server.started_at) != (before.pid, before.started_at)
            && is_ready(server.status)
        {
            let by = Some(supervisor);
            return Ok(Restarted { server, by });
        }
        if Instant::now() >= deadline {
            return Err(RestartError::NotReady {
                supervisor,
                data_directory: before.data_directory.clone(),
                within: ready_within,
            });
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn is_ready(status: PostmasterStatus) -> bool {
    match status {
        PostmasterStatus::Ready | PostmasterStatus::Standby => true,
        PostmasterStatus::Starting | PostmasterStatus::Stopping => false,
    }
}
