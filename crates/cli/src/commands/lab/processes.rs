//! The servers and agents that work in a lab's directories, found by looking and not by what a file says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long servers get to end after SIGQUIT, on which a postmaster ends its children and gives
/// back its shared memory, before they are killed.
const QUIT_MAX: Duration = Duration::from_secs(10);
/// How long the kernel gets to take away killed processes.
const KILL_MAX: Duration = Duration::from_secs(10);
/// How often to look whether they are gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The programs that write below a lab's home by themselves. A shell or an editor somebody opened
/// there is none of ours.
const SERVER_PROGRAMS: [&str; 2] = ["postgres", "initdb"];

/// What an agent's process, and that of its deadman, are told to do: the first words of their
/// arguments. Other commands of this program may be at work on the lab too.
const AGENT_COMMANDS: [&[&[u8]]; 2] = [&[b"run"], &[b"node", b"deadman"]];
/// The name of this program's processes.
const AGENT_PROGRAM: &str = "manada";

/// How long agents get to tell each other that they end.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// Processes are still there although they were killed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the processes {} do not end", .pids.iter().map(i32::to_string).collect::<Vec<_>>().join(", "))]
pub(crate) struct StillRunning {
    pids: Vec<i32>,
}

/// The server processes whose data directory lies in one of the node directories below `home`.
pub(crate) fn servers_below(home: &Path) -> Vec<Pid> {
    let directories = DataDirectories::below(home);
    processes(|pid| directories.are_used_by(pid))
}

/// The agents of the nodes below `home`, and their deadmen.
fn agents_below(home: &Path) -> Vec<Pid> {
    let directories = DataDirectories::below(home);
    processes(|pid| directories.are_watched_by(pid))
}

fn processes(are_meant: impl Fn(Pid) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| are_meant(*pid))
        .collect()
}

/// Stops every server below `home` at once, without a checkpoint, and waits until none is left. The
/// agents first: one that goes on would start its server again.
pub(crate) fn stop_at_once(home: &Path) -> Result<(), StillRunning> {
    end_agents(home)?;
    let servers = || servers_below(home);
    if ends(servers, Signal::QUIT, QUIT_MAX) || ends(servers, Signal::KILL, KILL_MAX) {
        return Ok(());
    }
    Err(StillRunning::of(servers()))
}

/// Ends the agents below `home`, and waits until none is left. Their servers go on.
pub(crate) fn end_agents(home: &Path) -> Result<(), StillRunning> {
    let agents = || agents_below(home);
    if ends(agents, Signal::TERM, FAREWELL_MAX) || ends(agents, Signal::KILL, KILL_MAX) {
        return Ok(());
    }
    Err(StillRunning::of(agents()))
}

impl StillRunning {
    fn of(processes: Vec<Pid>) -> StillRunning {
        StillRunning {
            pids: processes
                .into_iter()
                .map(|pid| pid.as_raw_nonzero().get())
                .collect(),
        }
    }
}

/// Sends `signal` to those processes, also to those that appear while it waits; whether all were
/// gone within `limit`.
fn ends(find: impl Fn() -> Vec<Pid>, signal: Signal, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut signalled = BTreeSet::new();
    loop {
        let running = find();
        if running.is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        for pid in running {
            if signalled.insert(pid.as_raw_nonzero()) {
                // It may have ended since it was found, which is as good. A stopped process takes
                // a signal only when it goes on.
                kill_process(pid, signal).ok();
                kill_process(pid, Signal::CONT).ok();
            }
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Two levels below a lab's home: the nodes' data directories, unfinished ones included.
struct DataDirectories {
    home: PathBuf,
    /// Device and inode: a path alone could be one of another container.
    identities: BTreeSet<(u64, u64)>,
    root: Option<(u64, u64)>,
}

impl DataDirectories {
    fn below(home: &Path) -> DataDirectories {
        let children = |path: &Path| {
            fs::read_dir(path)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect::<Vec<_>>()
        };
        DataDirectories {
            home: home.to_path_buf(),
            identities: children(home)
                .iter()
                .flat_map(|node| children(node))
                .filter_map(|directory| identity(&directory))
                .collect(),
            root: identity(Path::new("/")),
        }
    }

    fn are_used_by(&self, pid: Pid) -> bool {
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let Ok(name) = fs::read_to_string(process.join("comm")) else {
            return false;
        };
        if !SERVER_PROGRAMS.contains(&name.trim_end()) {
            return false;
        }
        let works_there =
            identity(&process.join("cwd")).is_some_and(|cwd| self.identities.contains(&cwd));
        works_there || self.is_told_to_go_there(&process)
    }

    fn are_watched_by(&self, pid: Pid) -> bool {
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        // A copy of this program may bear any name.
        let is_ours = name.trim_end() == AGENT_PROGRAM
            || file_identity(&process.join("exe"))
                .is_some_and(|program| Some(program) == file_identity(Path::new("/proc/self/exe")));
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).skip(1).collect();
        let is_agent = AGENT_COMMANDS
            .iter()
            .any(|command| words.starts_with(command));
        is_ours && is_agent && self.is_told_to_go_there(&process)
    }

    /// A server that has just been started has not yet gone to its data directory; its arguments
    /// name it.
    fn is_told_to_go_there(&self, process: &Path) -> bool {
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        let below = |argument: &[u8]| {
            Path::new(std::ffi::OsStr::from_bytes(argument)).starts_with(&self.home)
        };
        arguments.split(|byte| *byte == 0).any(below)
            && identity(&process.join("root")) == self.root
    }
}

/// What tells a directory from all others while it exists; follows links, those in `/proc` too.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path)
        .ok()?
        .is_dir()
        .then(|| file_identity(path))?
}

/// The same for any file.
fn file_identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    /// A process that calls itself `name`, working in `directory`.
    fn pretend(name: &str, directory: &Path) -> Child {
        let program = directory.join(name);
        fs::copy("/bin/sleep", &program).expect("copied");
        Command::new(program)
            .arg0(name)
            .arg("60")
            .current_dir(directory)
            .spawn()
            .expect("sleep runs")
    }

    #[test]
    fn servers_are_ended_and_a_shell_in_the_same_directory_is_not() {
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("node1/data");
        fs::create_dir_all(&data).expect("made");
        let mut server = pretend("postgres", &data);
        let mut shell = pretend("sh", &data);
        let reaped = std::thread::spawn(move || server.wait().expect("it ends"));

        stop_at_once(home.path()).expect("they end");
        assert!(!reaped.join().expect("no panic").success());
        assert_eq!(shell.try_wait().expect("asked"), None, "it goes on");
        shell.kill().expect("it ends");
        shell.wait().expect("reaped");
    }

    #[test]
    fn a_server_of_another_directory_is_none_of_ours() {
        let ours = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        let mut server = pretend("postgres", other.path());
        assert_eq!(servers_below(ours.path()), []);
        server.kill().expect("it ends");
        server.wait().expect("reaped");
    }
}
