//! The deadman: a process apart that kills the server when the agent sets no later deadline.
//!
//! Nothing but time keeps an old asynchronous leader from acknowledging, and an agent that is
//! killed or paused can't stop its server. So the deadlines lie with another process. It outlives
//! the agent; an agent that comes back finds it at the same pipe.

mod guard;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use manada_core::timer::Moment;
use manada_herd::Home;
use rustix::fs::{Mode, OFlags};

use crate::agent_directory;

pub use guard::{GuardError, guard};

/// How long a guard may take to open its end of the pipe.
const GUARD_THERE_WITHIN: Duration = Duration::from_secs(2);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// The agent's end of the pipe.
#[derive(Debug)]
pub struct Deadman {
    home: Home,
    program: PathBuf,
    pipe: Option<File>,
}

/// No deadline could be set.
#[derive(Debug, thiserror::Error)]
pub enum DeadmanError {
    /// The pipe can't be written.
    #[error("telling the deadman at {}: {source}", path.display())]
    Pipe {
        /// The pipe.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The process can't be started.
    #[error("starting the deadman: {source}")]
    Start {
        /// The operating system's word.
        source: io::Error,
    },
    /// It was started, and does not listen.
    #[error("the deadman does not listen within {} s", GUARD_THERE_WITHIN.as_secs())]
    Late,
}

impl Deadman {
    /// The deadman of a node. `program` is the `manada` that is run as the guard.
    pub fn new(home: Home, program: PathBuf) -> Deadman {
        Deadman {
            home,
            program,
            pipe: None,
        }
    }

    /// Has the server killed at that moment unless another is set before; `None` disarms. Blocks.
    pub fn set(&mut self, deadline: Option<Moment>) -> Result<(), DeadmanError> {
        let line = deadline.map_or_else(|| "disarm\n".to_owned(), armed_line);
        if self.pipe.is_none() {
            self.pipe = self.open()?;
        }
        if let Some(pipe) = &mut self.pipe {
            match pipe.write_all(line.as_bytes()) {
                Ok(()) => return Ok(()),
                // It has ended, as a disarmed one does when its agent ends.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.pipe = None,
                Err(source) => return Err(self.pipe_error(source)),
            }
        }
        if deadline.is_none() {
            return Ok(());
        }
        self.start()?;
        let opened_by = Instant::now() + GUARD_THERE_WITHIN;
        let mut pipe = loop {
            match self.open()? {
                Some(pipe) => break pipe,
                None if Instant::now() < opened_by => std::thread::sleep(BETWEEN_TRIES),
                None => return Err(DeadmanError::Late),
            }
        };
        pipe.write_all(line.as_bytes())
            .map_err(|source| self.pipe_error(source))?;
        self.pipe = Some(pipe);
        Ok(())
    }

    /// The pipe, if a guard listens.
    fn open(&self) -> Result<Option<File>, DeadmanError> {
        use rustix::io::Errno;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(pipe_of(&self.home), flags, Mode::empty()) {
            Ok(pipe) => Ok(Some(File::from(pipe))),
            Err(Errno::NOENT | Errno::NXIO) => Ok(None),
            Err(errno) => Err(self.pipe_error(errno.into())),
        }
    }

    fn start(&self) -> Result<(), DeadmanError> {
        let mut guard = Command::new(&self.program)
            .args(["node", "deadman", "--home"])
            .arg(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| DeadmanError::Start { source })?;
        // Nobody waits for its end but this thread, which leaves no zombie.
        std::thread::spawn(move || guard.wait());
        Ok(())
    }

    fn pipe_error(&self, source: io::Error) -> DeadmanError {
        DeadmanError::Pipe {
            path: pipe_of(&self.home),
            source,
        }
    }
}

fn pipe_of(home: &Home) -> PathBuf {
    agent_directory(home).join("deadman")
}

fn armed_line(deadline: Moment) -> String {
    format!("arm {}\n", deadline.0.as_nanos())
}

/// The deadline that a line sets; the outer `None` where it is no such line.
fn parse_line(line: &str) -> Option<Option<Moment>> {
    match line.split_once(' ') {
        None if line == "disarm" => Some(None),
        Some(("arm", nanoseconds)) => {
            let nanoseconds = nanoseconds.parse().ok()?;
            Some(Some(Moment(Duration::from_nanos(nanoseconds))))
        }
        None | Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_read_as_it_was_set() {
        let deadline = Moment(Duration::new(123_456, 789));
        let line = armed_line(deadline);
        assert_eq!(parse_line(line.trim_end()), Some(Some(deadline)));
        assert_eq!(parse_line("disarm"), Some(None));
        for other in ["", "arm", "arm x", "arm -1", "disarm 1"] {
            assert_eq!(parse_line(other), None, "{other}");
        }
    }
}
