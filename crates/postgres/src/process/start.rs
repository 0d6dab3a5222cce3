//! Starting a server and waiting until it takes connections.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use manada_model::{StartFailure, StartTrouble};

use super::pid_file::PostmasterStatus;
use super::running::{RunningError, RunningServer, is_unreaped, read_pid_file, running};
use super::start_log::StartLog;
use super::stop::processes_of;
use super::trouble::trouble_in;
use crate::child::Lifetime;
use crate::os_user::{OsUser, OsUserError};
use crate::programs::ServerPrograms;

/// How long a server is given where the caller has no reason for another bound; as `pg_ctl` does.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks at a starting server. It takes some 50 ms in all.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct StartOptions<'a> {
    /// The data directory. Its owner runs the server.
    pub data_directory: &'a Path,
    /// Settings on the command line, which override those in files.
    pub settings: &'a [(&'a str, &'a str)],
    /// What the server says goes to the end of this file; it is made if need be.
    pub log_file: &'a Path,
    /// How long it is given until it takes connections. Recovery after a crash may take minutes.
    pub ready_within: Duration,
}

/// A server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One runs already.
    #[error("a server runs on {} already (process {})", server.data_directory.display(), server.pid)]
    AlreadyRunning {
        /// That one.
        server: RunningServer,
    },
    /// It can't be told whether one runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// There is no data directory.
    #[error("{} is no data directory: it has no PG_VERSION", path.display())]
    NoDataDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The programs are of another major version than the data.
    #[error(
        "the data in {} is of PostgreSQL {data_version}, the programs are {programs_version}: give the fitting ones with --pg {data_version}",
        path.display()
    )]
    WrongVersion {
        /// The directory.
        path: PathBuf,
        /// What is in `PG_VERSION`.
        data_version: String,
        /// The programs' version.
        programs_version: manada_model::ServerVersion,
    },
    /// Nobody suitable can run it.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The log can't be written.
    #[error("can't open the log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program can't be run.
    #[error("can't run {}", path.display())]
    Spawn {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended at once.
    #[error("the server on {} did not start ({status}): {}\n{log_tail}", data_directory.display(), trouble.failure)]
    Ended {
        /// The data directory.
        data_directory: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// Why, as far as it is recognised.
        trouble: StartTrouble,
        /// The end of what it logged.
        log_tail: String,
    },
    /// It still runs but does not take connections yet. It was left running.
    #[error(
        "the server on {} (process {pid}) takes no connections after {} s; it goes on starting\n{log_tail}",
        data_directory.display(),
        within.as_secs()
    )]
    NotReady {
        /// The data directory.
        data_directory: PathBuf,
        /// The server's process.
        pid: i32,
        /// How long was waited.
        within: Duration,
        /// The end of what it logged.
        log_tail: String,
    },
}

impl StartError {
    /// What kept the server from starting.
    pub fn trouble(&self) -> StartTrouble {
        let failure = match self {
            StartError::Ended { trouble, .. } => return trouble.clone(),
            StartError::NoDataDirectory { .. } => StartFailure::Other,
            StartError::WrongVersion { .. } => StartFailure::WrongVersion,
            StartError::AlreadyRunning { .. } => StartFailure::AlreadyRunning,
            StartError::Running(_)
            | StartError::User(_)
            | StartError::Log { .. }
            | StartError::Spawn { .. }
            | StartError::NotReady { .. } => StartFailure::NotRun,
        };
        let said = self.to_string();
        StartTrouble { failure, said }
    }
}

/// Starts a server that survives us, and waits until it takes connections, as a primary or as a
/// standby, or follows as a standby that is not to take any.
pub fn start(
    programs: &ServerPrograms,
    options: &StartOptions<'_>,
) -> Result<RunningServer, StartError> {
    let data_directory =
        std::path::absolute(options.data_directory).map_err(|source| RunningError::Read {
            path: options.data_directory.to_path_buf(),
            source,
        })?;
    check_version(programs, &data_directory)?;
    let mut arguments: Vec<OsString> = vec!["-D".into(), data_directory.clone().into()];
    for (name, value) in options.settings {
        arguments.push("-c".into());
        arguments.push(format!("{name}={value}").into());
    }
    launch(&Launch {
        program: &programs.postgres(),
        arguments: &arguments,
        data_directory: &data_directory,
        log_file: options.log_file,
        ready_within: options.ready_within,
    })
}

/// A server's whole command line.
pub(super) struct Launch<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [OsString],
    pub(super) data_directory: &'a Path,
    pub(super) log_file: &'a Path,
    pub(super) ready_within: Duration,
}

pub(super) fn launch(launch: &Launch<'_>) -> Result<RunningServer, StartError> {
    if let Some(server) = running(launch.data_directory)? {
        return Err(StartError::AlreadyRunning { server });
    }
    forget_unreaped(launch.data_directory)?;
    let user = OsUser::of_data_directory(launch.data_directory)?;
    let log_error = |source| StartError::Log {
        path: launch.log_file.to_path_buf(),
        source,
    };
    let mut log = StartLog::open(launch.log_file, &user).map_err(log_error)?;
    let mut command = user.command_living(launch.program, Lifetime::SurvivesUs);
    command
        .args(launch.arguments)
        .stdout(log.writer().map_err(log_error)?)
        .stderr(log.writer().map_err(log_error)?);
    let child = command.spawn().map_err(|source| StartError::Spawn {
        path: launch.program.to_path_buf(),
        source,
    })?;
    wait_until_ready(child, launch, &mut log)
}

/// Removes the file of a postmaster that has ended and was not reaped: PostgreSQL takes a process
/// that can be signalled for a running one (`CreateLockFile` in `miscinit.c`). By the same file it
/// knows the shared memory of children that are left, so that none may be.
fn forget_unreaped(data_directory: &Path) -> Result<(), RunningError> {
    let path = data_directory.join("postmaster.pid");
    let read_error = |source| RunningError::Read {
        path: path.clone(),
        source,
    };
    let Some(file) = read_pid_file(data_directory)? else {
        return Ok(());
    };
    let is_alone = || Ok(processes_of(data_directory)?.is_empty());
    if is_unreaped(file.pid).map_err(read_error)? && is_alone().map_err(read_error)? {
        fs::remove_file(&path).map_err(read_error)?;
    }
    Ok(())
}

fn wait_until_ready(
    mut child: Child,
    launch: &Launch<'_>,
    log: &mut StartLog,
) -> Result<RunningServer, StartError> {
    let deadline = Instant::now() + launch.ready_within;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let outcome = loop {
        let ended = child.try_wait().map_err(|source| StartError::Spawn {
            path: launch.program.to_path_buf(),
            source,
        })?;
        if let Some(status) = ended {
            let log_tail = log.all_of(launch.data_directory);
            return Err(StartError::Ended {
                data_directory: launch.data_directory.to_path_buf(),
                status,
                trouble: trouble_in(&log_tail),
                log_tail,
            });
        }
        // A file left by an earlier server names another process.
        let ready = read_pid_file(launch.data_directory)?.is_some_and(|file| {
            file.pid == pid
                && match file.status {
                    PostmasterStatus::Ready | PostmasterStatus::Standby => true,
                    PostmasterStatus::Starting | PostmasterStatus::Stopping => false,
                }
        });
        if ready && let Some(server) = running(launch.data_directory)? {
            break Ok(server);
        }
        if Instant::now() >= deadline {
            break Err(StartError::NotReady {
                data_directory: launch.data_directory.to_path_buf(),
                pid,
                within: launch.ready_within,
                log_tail: log.tail(),
            });
        }
        thread::sleep(BETWEEN_LOOKS);
    };
    // As long as we live we are its parent: without this it would stay a zombie when it ends.
    thread::spawn(move || child.wait());
    outcome
}

fn check_version(programs: &ServerPrograms, data_directory: &Path) -> Result<(), StartError> {
    let path = data_directory.to_path_buf();
    match fs::read_to_string(path.join("PG_VERSION")) {
        Ok(text) if text.trim() == programs.major().to_string() => Ok(()),
        Ok(text) => Err(StartError::WrongVersion {
            path,
            data_version: text.trim().chars().take(10).collect(),
            programs_version: programs.version(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StartError::NoDataDirectory { path })
        }
        Err(source) => Err(RunningError::Read { path, source }.into()),
    }
}
