//! The tether: a small process that outlives a lab by a moment and stops what the lab started.
//!
//! It holds the read end of a pipe whose write end only the lab has. When the lab ends, however
//! it does, the pipe ends; unless the lab said to keep the servers, the tether stops them. A child
//! that the lab has forked but that is not yet a server holds the write end too, so that none can
//! appear after the tether has looked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::home::LabHome;
use super::processes;
use crate::error::{Failure, Outcome};

/// What the lab says when the servers are to stay.
const KEEP: u8 = b'k';
/// What it says when they are to be stopped in its presence, and it starts no more.
const STOP: u8 = b'x';
/// What the tether says when it watches.
const WATCHING: u8 = b'w';
/// What it says when it has stopped everything.
const STOPPED: u8 = b's';
/// How long the tether waits for a lab that has let go of the pipe to end.
const LAB_END_MAX: Duration = Duration::from_secs(30);
/// How often to look.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The lab's end of the tether. Dropped without [`Tether::keep`], the lab's servers are stopped.
#[derive(Debug)]
pub(crate) struct Tether {
    process: Child,
    pipe: Option<ChildStdin>,
}

/// The arguments of the tether's process, which only a lab starts.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TetherArgs {
    /// The lab's directory.
    home: PathBuf,
    /// The lab's process id.
    lab: i32,
    /// Remove the directory once nothing runs in it.
    #[arg(long)]
    remove: bool,
}

impl Tether {
    /// Ties the servers that will work in `home` to this process's life. With `remove`, the
    /// directory goes with them.
    pub(crate) fn tie(home: &LabHome, remove: bool) -> Result<Tether, Failure> {
        spawn(home, remove).map_err(did_not_start)
    }

    /// Waits until it has left the terminal's reach and watches. Before that no server may start.
    pub(crate) fn wait_until_it_watches(&mut self) -> Result<(), Failure> {
        let mut answer = [0];
        let output = self.process.stdout.as_mut().expect("it is piped");
        output.read_exact(&mut answer).map_err(did_not_start)?;
        if answer == [WATCHING] {
            Ok(())
        } else {
            Err(did_not_start(io::Error::other(
                "its answer is not as expected",
            )))
        }
    }

    /// Lets go: the servers stay.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        self.say(KEEP)?;
        self.process.wait()?;
        Ok(())
    }

    /// Stops the servers now, removes the directory if it is to go, and waits until that is done.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.say(STOP)
            .and_then(|()| self.process.wait())
            .map_err(|error| not_stopped(&error))
            .and_then(|status| match status.success() {
                true => Ok(()),
                false => Err(not_stopped(&"they do not end although they were killed")),
            })
    }

    fn say(&mut self, word: u8) -> io::Result<()> {
        match self.pipe.take() {
            Some(mut pipe) => pipe.write_all(&[word]),
            None => Ok(()),
        }
    }

    fn cut(&mut self) {
        if self.pipe.take().is_none() {
            return;
        }
        let Some(output) = self.process.stdout.as_mut() else {
            return;
        };
        // Where it has died, its output has ended, and the next lab stops what is left.
        let mut word = [0];
        while matches!(output.read(&mut word), Ok(1)) && word != [STOPPED] {}
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.cut();
    }
}

fn did_not_start(error: io::Error) -> Failure {
    Failure::failed("the process that would stop the lab's servers if the lab died did not start")
        .because(error)
}

fn spawn(home: &LabHome, remove: bool) -> io::Result<Tether> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["lab", "tether"])
        .arg(home.path())
        .arg(std::process::id().to_string());
    if remove {
        command.arg("--remove");
    }
    let mut process = command
        .current_dir("/")
        .env_remove("MANADA_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Nothing is said there: it keeps the lab's lock held until the tether has ended.
        .stderr(Stdio::from(OwnedFd::from(home.share_lock()?)))
        .spawn()?;
    let pipe = process.stdin.take();
    Ok(Tether { process, pipe })
}

/// The tether's own process.
pub(crate) fn run(args: &TetherArgs) -> Result<Outcome, Failure> {
    // Ctrl-C goes to the terminal's foreground processes, which this must not be one of.
    rustix::process::setsid()
        .map_err(|errno| Failure::failed("no session of its own").because(errno))?;
    match say(WATCHING).then(last_word).flatten() {
        Some(KEEP) => return Ok(Outcome::Done),
        Some(STOP) => {
            processes::stop_at_once(&args.home).map_err(|error| not_stopped(&error))?;
            if args.remove {
                // Here too, so that a lab killed meanwhile leaves nothing. What can't be removed
                // the lab tries again, and says.
                remove(&args.home).ok();
            }
            return Ok(Outcome::Done);
        }
        Some(_) | None => {}
    }
    let stopped = processes::stop_at_once(&args.home);
    say(STOPPED);
    // While it lives, a thread of the lab's may still bring a server up.
    wait_for_end_of(args.lab);
    processes::stop_at_once(&args.home)
        .or(stopped)
        .map_err(|error| not_stopped(&error))?;
    if args.remove {
        remove(&args.home)?;
    }
    Ok(Outcome::Done)
}

fn not_stopped(error: &dyn std::fmt::Display) -> Failure {
    Failure::failed("the lab's servers could not be stopped").because(error)
}

/// Whether the lab could be told.
fn say(word: u8) -> bool {
    let mut stdout = io::stdout();
    stdout
        .write_all(&[word])
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// Waits for the lab's word; `None` where it ends without one.
fn last_word() -> Option<u8> {
    let mut word = [0];
    loop {
        match io::stdin().read(&mut word) {
            Ok(1) => return Some(word[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// The lab is this process's parent for as long as it lives.
fn wait_for_end_of(lab: i32) {
    let deadline = Instant::now() + LAB_END_MAX;
    let lab = Pid::from_raw(lab);
    while rustix::process::getppid() == lab && Instant::now() < deadline {
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Removes the lab, unless the lab itself has.
fn remove(path: &Path) -> Result<(), Failure> {
    let lock = io::stderr().as_fd().try_clone_to_owned();
    let lock =
        lock.map_err(|error| Failure::failed("the lab's lock is not there").because(error))?;
    match LabHome::still_held(path, File::from(lock)) {
        Some(home) => home.remove(),
        None => Ok(()),
    }
}
