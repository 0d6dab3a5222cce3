//! Processes: who is alive, who works below a directory, and how they are ended.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::shared_memory::SharedMemory;
use crate::wait::poll_until;

/// How long processes get to end in good order before they are killed.
const ORDERLY_END_MAX: Duration = Duration::from_secs(5);
/// How long the kernel gets to take away a killed process.
const KILL_MAX: Duration = Duration::from_secs(10);

/// A process, told from a later one that was given the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pid: i32,
    /// Field 22 of `/proc/PID/stat`: when it started, in clock ticks since boot.
    start_ticks: u64,
}

impl ProcessIdentity {
    /// This process.
    pub(crate) fn this() -> Self {
        let pid = rustix::process::getpid();
        ProcessIdentity::of(pid).expect("a process can read its own /proc/PID/stat")
    }

    /// The process that has this id now, unless it has ended (a zombie has).
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let fields = fields_from_state(pid)?;
        let mut fields = fields.split(' ');
        let state = fields.next()?;
        // The state was the third field; 18 lie between it and the 22nd.
        let start_ticks = fields.nth(18)?.parse().ok()?;
        let pid = pid.as_raw_nonzero().get();
        (state != "Z" && state != "X").then_some(ProcessIdentity { pid, start_ticks })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Pid::from_raw(self.pid).and_then(ProcessIdentity::of) == Some(self)
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pid, self.start_ticks)
    }
}

/// The text is not what [`ProcessIdentity`] prints.
#[derive(Debug)]
pub(crate) struct NotAnIdentity;

impl FromStr for ProcessIdentity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let (pid, start_ticks) = text.split_once('.').ok_or(NotAnIdentity)?;
        Ok(ProcessIdentity {
            pid: pid.parse().map_err(|_| NotAnIdentity)?,
            start_ticks: start_ticks.parse().map_err(|_| NotAnIdentity)?,
        })
    }
}

/// What a process does, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A signal has stopped it.
    Stopped,
    /// It waits for its disk, or for what else can't be broken off.
    Uninterruptible,
    /// It runs, or sleeps.
    Other,
}

/// What that process does; `None` where there is none.
pub(crate) fn state(pid: Pid) -> Option<State> {
    Some(match fields_from_state(pid)?.split(' ').next()? {
        "T" => State::Stopped,
        "D" => State::Uninterruptible,
        // The kernel's other letters.
        _ => State::Other,
    })
}

/// `/proc/PID/stat` from its third field on.
fn fields_from_state(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field, the program's name, may hold spaces and parentheses.
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

/// The processes whose working directory is `directory` or below it. Every process of a
/// PostgreSQL server works in its data directory.
pub(crate) fn working_below(directory: &Path) -> Vec<Pid> {
    all(|process| works_below(process, directory))
}

/// Those, and the processes with an argument that lies there: an agent works in the root.
pub(crate) fn at_work_in(directory: &Path) -> Vec<Pid> {
    all(|process| {
        let below = |argument: OsString| Path::new(&argument).starts_with(directory);
        works_below(process, directory) || arguments(process).into_iter().any(below)
    })
}

fn works_below(process: &Path, directory: &Path) -> bool {
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
}

/// What a process was called with, given its directory in `/proc`.
fn arguments(process: &Path) -> Vec<OsString> {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .map(|argument| OsString::from_vec(argument.to_vec()))
        .collect()
}

/// The processes of which `choose` says yes, given their directory in `/proc`.
fn all(choose: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| choose(Path::new(&format!("/proc/{}", pid.as_raw_nonzero()))))
        .collect()
}

/// The processes in any of the network namespaces that these files stand for.
pub(crate) fn in_namespaces(files: &[PathBuf]) -> Vec<Pid> {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let namespaces: Vec<(u64, u64)> = files.iter().filter_map(|file| identity(file)).collect();
    all(|process| identity(&process.join("ns/net")).is_some_and(|own| namespaces.contains(&own)))
}

/// Kills the processes that `find` names at once, and waits until it finds none. Shared memory
/// of theirs goes too, as with a machine that crashes: a killed server can't give it back.
pub(crate) fn kill(find: impl Fn() -> Vec<Pid>) {
    let mut shared = BTreeSet::new();
    poll_until(KILL_MAX, || {
        let left = alive(find());
        shared.extend(left.iter().flat_map(|pid| SharedMemory::of(*pid)));
        signal(&left, Signal::KILL);
        left.is_empty()
    });
    shared.into_iter().for_each(SharedMemory::remove);
}

/// Ends the processes that `find` names, and waits until it finds none. First with SIGQUIT, on
/// which a postmaster ends its children and gives back its shared memory, then with SIGKILL.
pub(crate) fn end(find: impl Fn() -> Vec<Pid>) {
    let found = find();
    signal(&found, Signal::QUIT);
    // A stopped process takes a signal only when it goes on.
    signal(&found, Signal::CONT);
    if poll_until(ORDERLY_END_MAX, || alive(find()).is_empty()) {
        return;
    }
    kill(find);
}

fn alive(mut pids: Vec<Pid>) -> Vec<Pid> {
    pids.retain(|pid| ProcessIdentity::of(*pid).is_some());
    pids
}

/// Sends `signal` to those that are still there.
pub(crate) fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // It may have ended since it was found, which is as good.
        kill_process(*pid, signal).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_mistaken_for_a_later_one_with_its_id() {
        let this = ProcessIdentity::this();
        assert!(this.is_alive());
        let earlier = ProcessIdentity {
            start_ticks: this.start_ticks - 1,
            ..this
        };
        assert!(!earlier.is_alive());
        let read_back: ProcessIdentity = this.to_string().parse().expect("what it printed");
        assert_eq!(read_back, this);
    }
}
