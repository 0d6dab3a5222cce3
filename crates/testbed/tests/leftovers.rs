//! A test process that is killed leaves nothing that the next one does not remove.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use manada_testbed::faults::SmallDisk;
use manada_testbed::{Network, Outcome, Programs, Scratch, Test, TestServer, run, wait_until};

/// Set for a process that this test starts: which of the two parts below it plays.
const PART: &str = "MANADA_TESTBED_PART";

fn main() -> ExitCode {
    match std::env::var(PART).as_deref() {
        Ok("owner") => own_until_killed(),
        Ok("next") => drop((Scratch::new(), Network::new())),
        Ok(other) => panic!("{PART} is {other:?}"),
        Err(_) => {
            let test = a_killed_test_process_leaves_nothing_once_the_next_has_started;
            let name = "a_killed_test_process_leaves_nothing_once_the_next_has_started";
            return run(vec![test.trials(name)]);
        }
    }
    ExitCode::SUCCESS
}

fn a_killed_test_process_leaves_nothing_once_the_next_has_started() -> Outcome {
    Network::available()?;
    Programs::any()?;
    let mut owner = part("owner");
    let marker = format!("manada-testbed.{}.", owner.id());
    let postmasters = told_by(&mut owner);
    assert!(!traces(&marker).is_empty(), "nothing to leave behind");
    owner.kill().expect("it is ours");
    owner.wait().expect("it was killed");

    wait_until("the servers of a killed test process end", || {
        let ended = |pid: &String| !Path::new("/proc").join(pid).exists();
        postmasters.iter().all(ended)
    });

    let next = part("next").wait().expect("it was started");
    assert!(next.success());
    assert_eq!(traces(&marker), Vec::<String>::new());
    Ok(())
}

/// Owns one of everything, tells its servers' process ids, and waits to be killed.
fn own_until_killed() {
    let programs = Programs::any().expect("asked before");
    let network = Network::new().expect("asked before");
    let host = network.host("one");
    let here = TestServer::start(&programs);
    let there = TestServer::with(&programs).on(&host).start();
    let scratch = Scratch::new();
    let _disk = SmallDisk::mount(scratch.path().join("disk"), 1).expect("asked before");
    // As a server that the product started: in a session of its own, nobody's child.
    let mut daemon = host.command("setsid");
    daemon
        .args(["--fork", "sleep", "600"])
        .status()
        .expect("root may run it");
    let mut told = std::io::stderr();
    for server in [&here, &there] {
        writeln!(told, "{}", server.pid().expect("it runs")).expect("it is read");
    }
    writeln!(told).expect("it is read");
    loop {
        std::thread::park();
    }
}

fn part(name: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .env(PART, name)
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be run again")
}

/// The lines that the process prints before an empty one.
fn told_by(owner: &mut Child) -> Vec<String> {
    let pipe = owner.stderr.take().expect("it was made piped");
    let lines = BufReader::new(pipe).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).collect()
}

/// Directories, namespaces, mounts and processes with this in their name or place.
fn traces(marker: &str) -> Vec<String> {
    let scratch = Scratch::new();
    let names = ["/run/netns", "/etc/netns"]
        .into_iter()
        .map(PathBuf::from)
        .chain(scratch.path().parent().map(Path::to_owned))
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().display().to_string()));
    let mounts = fs::read_to_string("/proc/mounts").expect("Linux has it");
    let places = fs::read_dir("/proc")
        .expect("Linux has it")
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok())
        .map(|cwd| cwd.display().to_string());
    names
        .chain(mounts.lines().map(str::to_owned))
        .chain(places)
        .filter(|trace| trace.contains(marker))
        .collect()
}
