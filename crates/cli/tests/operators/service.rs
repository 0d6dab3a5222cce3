//! The agent under a service manager: what it tells, and what it leaves alone when it ends.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_testbed::{Missing, Outcome, Programs, wait_for, wait_until};
use rustix::process::Signal;
use serde_json::json as value;

use crate::herd::Protected;

/// How often the service manager wants to hear of the agent, in microseconds.
const WATCHDOG_USEC: &str = "900000";

/// The service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    told: Vec<String>,
}

impl Manager {
    fn new(directory: &Path) -> Manager {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let patience = Some(Duration::from_millis(50));
        socket.set_read_timeout(patience).expect("set");
        Manager {
            socket,
            path,
            told: Vec::new(),
        }
    }

    /// Whether a line of what the agent has told is so.
    fn heard(&mut self, line: impl Fn(&str) -> bool) -> bool {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]);
            self.told.extend(text.lines().map(str::to_owned));
        }
        self.told.iter().any(|told| line(told))
    }
}

pub(crate) fn the_service_manager_is_told_and_the_server_left_alone() -> Outcome {
    let mut protected = Protected::start(&Programs::any()?, &[]);
    let program = protected.herd.scratch.path().join("manada");
    install(&program);
    let started = protected
        .herd
        .sql("n1", "SELECT pg_postmaster_start_time()");
    let postmaster = protected.postmaster("n1");
    for is_synchronous in [false, true] {
        if is_synchronous {
            protected.synchronous("n1");
        }
        let mut manager = Manager::new(protected.herd.scratch.path());
        assert!(protected.end_agent("n1", Signal::TERM).success());
        // An upgrade in place.
        install(&program);
        let mut command = protected.agent_command_of(&program, "n1");
        command
            .env("NOTIFY_SOCKET", &manager.path)
            .env("WATCHDOG_USEC", WATCHDOG_USEC);
        protected.start_agent_by("n1", command);
        for line in ["READY=1", "WATCHDOG=1"] {
            wait_until(line, || manager.heard(|told| told == line));
        }
        wait_until("STATUS=", || {
            manager.heard(|told| told.starts_with("STATUS=leads epoch 1; commits wait for "))
        });
        protected.led_by("n1");
        reread(&protected, !is_synchronous);

        assert!(protected.end_agent("n1", Signal::INT).success());
        assert!(
            manager.heard(|told| told == "STOPPING=1"),
            "{:?}",
            manager.told
        );
        fs::remove_file(&manager.path).expect("removed");
        assert_eq!(protected.herd.sql("n1", "SELECT pg_is_in_recovery()"), "f");
        protected.start_agent("n1");
        protected.led_by("n1");
    }
    assert_eq!(protected.postmaster("n1"), postmaster);
    let now = protected
        .herd
        .sql("n1", "SELECT pg_postmaster_start_time()");
    assert_eq!(now, started);
    let status = protected.typed("n1", &["status"]);
    assert_eq!(status["protection"]["epoch"], 1);
    Ok(())
}

/// A new file under the same name, as a package's upgrade leaves it.
fn install(program: &Path) {
    let beside = program.with_extension("new");
    fs::copy(env!("CARGO_BIN_EXE_manada"), &beside).expect("copied");
    fs::rename(&beside, program).expect("replaced");
}

/// A priority that was changed in the node's file counts once the agent has the signal.
fn reread(protected: &Protected, is_first: bool) {
    let (from, to) = if is_first { (100, 70) } else { (70, 100) };
    let file = protected.path("n1").join("manada.toml");
    let text = fs::read_to_string(&file).expect("there");
    let changed = text.replace(&format!("priority = {from}"), &format!("priority = {to}"));
    assert_ne!(changed, text, "{text}");
    fs::write(&file, changed).expect("written");
    protected.signal_agent("n1", Signal::HUP);
    wait_for("the priority in the record", value!(to), || {
        let view = protected.view("n1").unwrap_or_default();
        view["record"]["value"]["members"]["n1"]["priority"].clone()
    });
}

pub(crate) fn the_unit_file_is_one_for_systemd() -> Outcome {
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        return Err(Missing::new(
            "no systemd-analyze: install Debian's package systemd",
        ));
    }
    let scratch = manada_testbed::Scratch::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/manada@.service");
    let unit = fs::read_to_string(source).expect("there");
    // It lets no unit pass whose program is not installed.
    let unit = unit.replace("/usr/bin/manada", env!("CARGO_BIN_EXE_manada"));
    let path = scratch.path().join("manada@main-n1.service");
    fs::write(&path, &unit).expect("written");
    let output = std::process::Command::new(analyze)
        .arg("verify")
        .arg(&path)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    // By this the server outlives its agent.
    assert!(
        unit.lines().any(|line| line == "KillMode=process"),
        "{unit}"
    );
    Ok(())
}
