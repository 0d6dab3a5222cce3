//! Whether a data directory has a server now, and a hold on exactly that process.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::pid_file::{ParsePidFileError, PidFile, PostmasterStatus};

/// How far apart a process's start and the time in `postmaster.pid` may lie. Used only where
/// `/proc` does not let us see the process's working directory.
const START_TIMES_APART_MAX: Duration = Duration::from_secs(3);

/// How often a file that is being written is read again before it counts as damaged.
const READS_MAX: u32 = 50;
const BETWEEN_READS: Duration = Duration::from_millis(2);

/// A server that was proven to run on a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningServer {
    /// The postmaster's process id.
    pub pid: i32,
    /// The data directory, links followed.
    pub data_directory: PathBuf,
    /// The TCP port.
    pub port: u16,
    /// The first directory with its socket, once it listens there.
    pub socket_directory: Option<PathBuf>,
    /// The first address it listens on, once it does.
    pub listen_address: Option<String>,
    /// When it started.
    pub started_at: SystemTime,
    /// What it said it was doing.
    pub status: PostmasterStatus,
}

/// It can't be told whether a server runs.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{} is damaged ({reason}): if no server runs on this directory, remove the file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why it can't be read.
        reason: ParsePidFileError,
    },
    /// Somebody repairs the data directory by hand.
    #[error("a single-user backend (process {pid}) is using {}: end it first", data_directory.display())]
    SingleUser {
        /// The backend's process id.
        pid: i32,
        /// The data directory.
        data_directory: PathBuf,
    },
}

/// The server that runs on `data_directory` now, if one does. A file left behind by a server
/// that died, also one whose number was since given to another process, is no server.
pub fn running(data_directory: &Path) -> Result<Option<RunningServer>, RunningError> {
    Ok(hold(data_directory)?.map(|held| held.server))
}

/// A running server together with a descriptor of its process.
#[derive(Debug)]
pub struct HeldServer {
    pub(super) server: RunningServer,
    process: OwnedFd,
}

impl HeldServer {
    /// The server.
    pub fn server(&self) -> &RunningServer {
        &self.server
    }

    /// The descriptor: it becomes readable when the postmaster has ended (`pidfd_open(2)`).
    pub fn into_process(self) -> OwnedFd {
        self.process
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.process, signal)?)
    }

    /// Waits until the process has ended; false if it has not within `bound`.
    pub(super) fn wait_for_end(&self, bound: Duration) -> io::Result<bool> {
        wait_for_end(&self.process, bound)
    }
}

fn wait_for_end(process: &OwnedFd, bound: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + bound;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut watched = [PollFd::new(process, PollFlags::IN)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether a process has ended, and is still there because its parent has not asked how.
pub(super) fn is_unreaped(pid: i32) -> io::Result<bool> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) if has_ended(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    // The name in parentheses may hold anything.
    Ok(stat
        .rsplit_once(')')
        .is_some_and(|(_, fields)| fields.trim_start().starts_with('Z')))
}

/// As [`running`], with a hold on the postmaster's process.
pub fn hold(data_directory: &Path) -> Result<Option<HeldServer>, RunningError> {
    let Some(file) = read_pid_file(data_directory)? else {
        return Ok(None);
    };
    let read_error = |source| RunningError::Read {
        path: data_directory.to_path_buf(),
        source,
    };
    let Some(pid) = Pid::from_raw(file.pid) else {
        return Ok(None);
    };
    // First the descriptor, then the proof: what is proven is what is held.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(read_error(errno.into())),
    };
    // One that nobody reaps stays as a zombie, as where a container's first process does not.
    let ended = wait_for_end(&process, Duration::ZERO).map_err(read_error)?;
    let directory = fs::metadata(data_directory).map_err(read_error)?;
    if ended || !is_server_of(&file, &directory).map_err(read_error)? {
        return Ok(None);
    }
    let data_directory = data_directory.canonicalize().map_err(read_error)?;
    if file.single_user {
        return Err(RunningError::SingleUser {
            pid: file.pid,
            data_directory,
        });
    }
    Ok(Some(HeldServer {
        server: RunningServer {
            pid: file.pid,
            data_directory,
            port: file.port.unwrap_or_default(),
            socket_directory: file.socket_directory,
            listen_address: file.listen_address,
            started_at: start_time(file.started_at_seconds),
            status: file.status,
        },
        process,
    }))
}

/// `postmaster.pid`, if it is there and complete. A server that is just starting has created the
/// file and not yet written it, so that an unreadable one is read again for a moment.
pub(super) fn read_pid_file(data_directory: &Path) -> Result<Option<PidFile>, RunningError> {
    let path = data_directory.join("postmaster.pid");
    let mut reads = 0;
    loop {
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RunningError::Read { path, source }),
        };
        match PidFile::parse(&text) {
            Ok(file) => return Ok(Some(file)),
            Err(reason) if reads == READS_MAX => {
                return Err(RunningError::Damaged { path, reason });
            }
            Err(_) => {
                reads += 1;
                std::thread::sleep(BETWEEN_READS);
            }
        }
    }
}

/// Whether the process `file` names is a `postgres` working in that very directory.
fn is_server_of(file: &PidFile, directory: &fs::Metadata) -> io::Result<bool> {
    let of_process = Path::new("/proc").join(file.pid.to_string());
    match fs::read_to_string(of_process.join("comm")) {
        Ok(name) if matches!(name.trim_end(), "postgres" | "postmaster") => {}
        Ok(_) => return Ok(false),
        Err(error) if has_ended(&error) => return Ok(false),
        Err(error) => return Err(error),
    }
    match fs::metadata(of_process.join("cwd")) {
        Ok(cwd) => Ok((cwd.dev(), cwd.ino()) == (directory.dev(), directory.ino())),
        Err(error) if has_ended(&error) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let uid_fits = fs::metadata(&of_process)?.uid() == directory.uid();
            let apart = process_started_at(&of_process)?
                .map(|started| apart(started, start_time(file.started_at_seconds)));
            Ok(uid_fits && apart.is_some_and(|apart| apart <= START_TIMES_APART_MAX))
        }
        Err(error) => Err(error),
    }
}

/// `/proc` answers so when the process has gone, or is a zombie, between two looks.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

fn start_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|error| error.duration())
}

/// When a process started, from `/proc/PID/stat` and the machine's boot time.
fn process_started_at(of_process: &Path) -> io::Result<Option<SystemTime>> {
    let stat = fs::read_to_string(of_process.join("stat"))?;
    let machine = fs::read_to_string("/proc/stat")?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Ok(start_from_stat(&stat, &machine, ticks_per_second))
}

fn start_from_stat(stat: &str, machine: &str, ticks_per_second: u64) -> Option<SystemTime> {
    // The name in parentheses may hold anything; field 22 is counted from behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let boot: u64 = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let since_boot = Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64);
    UNIX_EPOCH
        .checked_add(Duration::from_secs(boot))?
        .checked_add(since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_own_start_time_is_read() {
        let started = process_started_at(Path::new("/proc/self"))
            .expect("readable")
            .expect("well-formed");
        let age = SystemTime::now()
            .duration_since(started)
            .unwrap_or_default();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    #[test]
    fn a_stale_file_naming_another_process_is_no_server() {
        let data = tempfile::tempdir().expect("a directory");
        let text = format!(
            "{}\n{}\n1\n5432\n",
            std::process::id(),
            data.path().display()
        );
        fs::write(data.path().join("postmaster.pid"), text).expect("written");
        assert_eq!(running(data.path()).expect("an answer"), None);
    }

    #[test]
    fn an_empty_file_is_reported_as_damaged() {
        let data = tempfile::tempdir().expect("a directory");
        fs::write(data.path().join("postmaster.pid"), "").expect("written");
        assert!(matches!(
            running(data.path()),
            Err(RunningError::Damaged { reason, .. }) if reason.line == 1
        ));
    }

    proptest! {
        #[test]
        fn any_process_name_is_survived(name in "\\PC{0,20}", ticks: u32) {
            let stat = format!("7 ({name}) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0");
            let started = start_from_stat(&stat, "cpu 1\nbtime 1000\n", 100).expect("well-formed");
            let expected = UNIX_EPOCH + Duration::from_secs(1000) + Duration::from_millis(u64::from(ticks) * 10);
            prop_assert!(apart(started, expected) < Duration::from_millis(1));
            start_from_stat(&name, &name, 100);
        }
    }
}
