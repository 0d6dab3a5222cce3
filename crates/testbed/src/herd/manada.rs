//! `manada` on a host, and the node that it makes there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::clock::Clock;
use super::node::{Agent, HerdNode};
use crate::faults::LoopDisk;
use crate::host::Host;
use crate::network::Network;
use crate::programs::{Missing, Programs};
use crate::workload::ROLE;

/// The disk of a node that is to fail: a small server, its WAL, and a clone beside it.
const DISK_MEGABYTES: u64 = 2048;

/// A new segment of WAL takes new space, so that a full disk is felt; and WAL that is old goes
/// soon, since each rewind copies all that the leader has kept.
const SETTINGS_TO_FAIL: &str = "wal_recycle = off\ncheckpoint_timeout = 30s\n\
                                max_wal_size = 256MB\n";

/// A host with `manada` on it. Its node, once there is one, is called as the host is.
#[derive(Debug)]
pub struct ManadaHost {
    host: Host,
    manada: PathBuf,
    programs: Programs,
    disk: Option<LoopDisk>,
    clock: Option<Clock>,
}

impl ManadaHost {
    /// The host, with the program in a place where every user may run it; `to_fail`, with a disk
    /// and a clock of its own.
    pub fn new(
        host: &Host,
        manada: &Path,
        programs: &Programs,
        to_fail: bool,
    ) -> Result<ManadaHost, Missing> {
        let disk = match to_fail {
            true => Some(LoopDisk::mount(host.home().join("disk"), DISK_MEGABYTES)?),
            false => None,
        };
        Ok(ManadaHost {
            host: host.clone(),
            manada: manada.to_owned(),
            programs: programs.clone(),
            disk,
            clock: to_fail.then(|| Clock::of(host)).flatten(),
        })
    }

    /// `manada` with these arguments, as root. The node's directory comes from the environment.
    pub fn manada(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(&self.manada);
        command
            .args(arguments)
            .env("MANADA_HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    /// What `manada` answers in JSON.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn report(&self, arguments: &[&str]) -> Value {
        let mut command = self.manada(arguments);
        command.args(["--format", "json"]);
        parsed(&command.output().expect("manada runs"))
    }

    /// Makes this host's server the primary of a herd.
    #[track_caller]
    fn init(&self) {
        self.report(&["init", "--pg", self.bin()]);
    }

    /// Makes this host a standby of `primary`, with a token that is piped from there.
    #[track_caller]
    fn join(&self, primary: &ManadaHost) {
        let token = primary.report(&["token"])["token"].clone();
        let token = token.as_str().expect("a token").to_owned();
        let mut command = self.manada(&["join", "-", "--pg", self.bin(), "--format", "json"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("manada runs");
        let mut pipe = child.stdin.take().expect("it was made piped");
        pipe.write_all(token.as_bytes()).expect("it is read");
        drop(pipe);
        parsed(&child.wait_with_output().expect("it ends"));
    }

    /// Where its node is.
    pub fn home(&self) -> PathBuf {
        match &self.disk {
            Some(disk) => disk.path().join("node"),
            None => self.host.home().join("node"),
        }
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    fn bin(&self) -> &str {
        self.programs.bin().to_str().expect("UTF-8")
    }

    fn agent(&self, store: &str) -> Agent {
        Agent {
            program: self.manada.clone(),
            arguments: ["run", "--store", store].map(Into::into).to_vec(),
            environment: BTreeMap::from([("MANADA_HOME".to_owned(), self.home().into_os_string())]),
        }
    }

    fn into_node(self, store: &str) -> HerdNode {
        let mut agent = self.agent(store);
        if let Some(clock) = &self.clock {
            agent.environment.extend(clock.environment());
        }
        let mut node = HerdNode::new(&self.host, &self.data(), agent);
        node.disk = self.disk;
        node.clock = self.clock;
        node
    }
}

/// Puts the program where every user of the network's hosts may run it.
pub(super) fn install(network: &Network, manada: &Path) -> PathBuf {
    let place = network.directory().join("manada");
    if fs::hard_link(manada, &place).is_err() {
        fs::copy(manada, &place).expect("there is space");
    }
    place
}

/// Makes a herd of these hosts, the first one its primary, and starts their agents.
#[track_caller]
pub(super) fn make(machines: Vec<ManadaHost>, policy: &[&str], store: &str) -> Vec<HerdNode> {
    let (primary, standbys) = machines.split_first().expect("a herd has a node");
    primary.init();
    if primary.disk.is_some() {
        append(&primary.data().join("postgresql.conf"), SETTINGS_TO_FAIL);
    }
    let rule = format!("host all {ROLE} samenet trust\n");
    append(&primary.data().join("pg_hba.conf"), &rule);
    for standby in standbys {
        standby.join(primary);
    }
    primary.report(policy);
    let nodes: Vec<HerdNode> = machines
        .into_iter()
        .map(|machine| machine.into_node(store))
        .collect();
    // What was appended above is read.
    nodes[0].sql("SELECT pg_reload_conf()");
    for node in &nodes {
        node.start_agent();
    }
    nodes
}

#[track_caller]
fn append(file: &Path, text: &str) {
    let file = fs::File::options().append(true).open(file);
    let mut file = file.expect("init has written it");
    file.write_all(text.as_bytes()).expect("there is space");
    // It is there after a loss of power too.
    file.sync_all().expect("the disk has power");
}

#[track_caller]
fn parsed(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    match serde_json::from_slice(&output.stdout) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)),
    }
}
