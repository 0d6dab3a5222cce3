//! The guard's own process: it waits for deadlines, and does one thing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_core::timer::Moment;
use manada_herd::Node;
use manada_postgres::process::{StopError, Stopped, end_at_once};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, mkfifoat};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::{parse_line, pipe_of};

/// How much is read of the pipe at once, in bytes: many lines.
const READ_BYTES: usize = 4096;

/// The guard had to end.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// A file of it can't be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The kernel gives no timer, or can't wait.
    #[error("waiting for the deadline: {0}")]
    Wait(#[from] Errno),
    /// The deadline has passed, and the server could not be killed.
    #[error(transparent)]
    Kill(#[from] StopError),
}

/// Waits for deadlines, until it is disarmed and nobody can arm it. Where another one waits for
/// this node's already, it ends at once.
pub fn guard(node: &Node) -> Result<(), GuardError> {
    let path = pipe_of(&node.home);
    let failed = |source| GuardError::File {
        path: path.clone(),
        source,
    };
    // In a session of its own it is not ended with its agent's terminal. It fails for the leader
    // of a session, which has that already.
    let _ = rustix::process::setsid();
    let Some(_lock) = only_guard(&path.with_extension("lock")).map_err(failed)? else {
        return Ok(());
    };
    match mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno.into())),
    }
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?;
    let mut pipe = open(&path).map_err(failed)?;
    let mut text = String::new();
    let mut deadline = None;
    loop {
        let heard = wait(&pipe, &timer, deadline)?;
        if heard.readable {
            read_lines(&mut pipe, &mut text, &mut deadline).map_err(failed)?;
        } else if heard.alone && deadline.is_none() {
            return Ok(());
        } else if heard.alone {
            // A pipe that once had a writer would say so for ever. The new end is opened before
            // the old one is closed, so that an agent that comes back always finds a reader.
            pipe = open(&path).map_err(failed)?;
        }
        if deadline.is_some_and(|deadline| crate::clock::now() >= deadline) {
            deadline = None;
            match end_at_once(&node.file.data_directory, Duration::ZERO)? {
                Stopped::After(_) => tracing::warn!("the lease has ended: the server was killed"),
                Stopped::WasNotRunning => {}
            }
        }
    }
}

fn only_guard(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

struct Heard {
    readable: bool,
    alone: bool,
}

/// Waits for a line, for the writer's end, or for the deadline.
fn wait(pipe: &File, timer: &OwnedFd, deadline: Option<Moment>) -> Result<Heard, GuardError> {
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let at = deadline.map_or(zero, |deadline| Timespec {
        tv_sec: i64::try_from(deadline.0.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: deadline.0.subsec_nanos().into(),
    });
    let setting = Itimerspec {
        it_interval: zero,
        it_value: at,
    };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &setting)?;
    let mut watched = [
        PollFd::new(pipe, PollFlags::IN),
        PollFd::new(timer, PollFlags::IN),
    ];
    match poll(&mut watched, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let events = watched[0].revents();
    Ok(Heard {
        readable: events.contains(PollFlags::IN),
        alone: events.contains(PollFlags::HUP),
    })
}

/// Takes in whole lines; the last one counts.
fn read_lines(pipe: &mut File, text: &mut String, deadline: &mut Option<Moment>) -> io::Result<()> {
    let mut bytes = [0; READ_BYTES];
    let read = match pipe.read(&mut bytes) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    while let Some((line, rest)) = text.split_once('\n') {
        match parse_line(line) {
            Some(set) => *deadline = set,
            None => tracing::error!("the deadman was told what it does not understand"),
        }
        *text = rest.to_owned();
    }
    // A line is shorter than what the kernel writes at once, so what is left is at most one.
    text.truncate(READ_BYTES);
    Ok(())
}
