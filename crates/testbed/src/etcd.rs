//! An etcd cluster with a member on each of some hosts, at its default timing.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, find_program};
use crate::host::Host;
use crate::programs::Missing;
use crate::wait::{poll_until, wait_until};

/// The port for clients.
const CLIENT_PORT: u16 = 2379;
/// The port for the other members.
const PEER_PORT: u16 = 2380;
/// How long a member may take to say whether it is well.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long it may take until another member leads.
const LEADER_MAX: Duration = Duration::from_secs(10);

/// The cluster. Its members end when it is dropped.
#[derive(Debug)]
pub struct EtcdCluster {
    program: PathBuf,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    host: Host,
    directory: PathBuf,
    arguments: Vec<String>,
    daemon: Mutex<Option<Daemon>>,
}

/// What a member says of itself.
struct Status {
    member: String,
    leads: bool,
    term: Option<u64>,
}

impl EtcdCluster {
    /// Starts a member on each of `hosts`, with its data below the directory of the same place in
    /// `directories`, and waits until all are well.
    ///
    /// # Panics
    /// When they don't start.
    pub fn start(hosts: &[Host], directories: &[PathBuf]) -> Result<EtcdCluster, Missing> {
        let program = find_program("etcd")
            .ok_or_else(|| Missing::new("no etcd: install the package etcd-server"))?;
        let initial: Vec<String> = hosts
            .iter()
            .map(|host| format!("{}=http://{}:{PEER_PORT}", host.name(), host.address()))
            .collect();
        let members = hosts
            .iter()
            .zip(directories)
            .map(|(host, directory)| Member {
                host: host.clone(),
                directory: directory.join("etcd"),
                arguments: arguments(host, &directory.join("etcd"), &initial.join(",")),
                daemon: Mutex::new(None),
            })
            .collect();
        let cluster = EtcdCluster { program, members };
        for member in &cluster.members {
            cluster.start_member(member);
        }
        for member in &cluster.members {
            wait_until("the etcd cluster is well", || member.is_well());
        }
        Ok(cluster)
    }

    /// Where clients find it, as a URI.
    pub fn uri(&self) -> String {
        format!("etcd://{}", self.endpoints().join(","))
    }

    /// `address:port` of each member.
    pub fn endpoints(&self) -> Vec<String> {
        let at = |member: &Member| format!("{}:{CLIENT_PORT}", member.host.address());
        self.members.iter().map(at).collect()
    }

    /// Kills the member on that host.
    pub fn kill(&self, host: &Host) {
        for member in self.on(host) {
            *member.daemon() = None;
        }
    }

    /// Stops the member on that host where it is.
    pub fn pause(&self, host: &Host) {
        self.signal(host, Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self, host: &Host) {
        self.signal(host, Signal::CONT);
    }

    /// Starts the member on that host again, with its data as they are.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn restart(&self, host: &Host) {
        for member in self.on(host) {
            *member.daemon() = None;
            self.start_member(member);
        }
    }

    /// Whether every member says that the cluster has a leader.
    pub fn is_well(&self) -> bool {
        self.members.iter().all(Member::is_well)
    }

    /// The host whose member leads the others.
    pub fn leader(&self) -> Option<&Host> {
        let says = self.members.iter().filter_map(|member| {
            let status = member.status().ok()?;
            status.leads.then_some((status.term, member))
        });
        // One that has lost its place may not know yet.
        let (_, leader) = says.max_by_key(|(term, _)| *term)?;
        Some(&leader.host)
    }

    /// Has the member on that host lead the others; says whether it does.
    pub fn make_leader(&self, host: &Host) -> bool {
        let is_there = || {
            self.leader()
                .is_some_and(|leader| leader.name() == host.name())
        };
        poll_until(LEADER_MAX, || {
            if is_there() {
                return true;
            }
            let (Some(leader), Some(heir)) = (self.leader(), self.on(host).next()) else {
                return false;
            };
            let Some(leader) = self.on(leader).next() else {
                return false;
            };
            if let Ok(status) = heir.status() {
                let body = format!(r#"{{"targetID":"{}"}}"#, status.member);
                // Whether it was done is seen by whoever leads then.
                leader
                    .post("/v3/maintenance/transfer-leadership", &body)
                    .ok();
            }
            is_there()
        })
    }

    /// The sum, over all members, of what those of their metrics say whose name is `name`.
    pub fn metric(&self, name: &str) -> f64 {
        let of_member = |member: &Member| {
            let answer = member
                .ask("GET /metrics HTTP/1.0\r\n\r\n")
                .unwrap_or_default();
            let samples = answer.lines().filter(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum::<f64>()
        };
        self.members.iter().map(of_member).sum()
    }

    fn signal(&self, host: &Host, signal: Signal) {
        for member in self.on(host) {
            if let Some(daemon) = member.daemon().as_ref() {
                daemon.signal(signal);
            }
        }
    }

    fn on(&self, host: &Host) -> impl Iterator<Item = &Member> {
        let name = host.name().to_owned();
        self.members
            .iter()
            .filter(move |member| member.host.name() == name)
    }

    fn start_member(&self, member: &Member) {
        fs::create_dir_all(&member.directory).expect("the directory is ours");
        let log = member.host.home().join("etcd.log");
        let daemon = Daemon::start(&member.host, &self.program, &log, |command| {
            command.args(&member.arguments);
        });
        *member.daemon() = Some(daemon.expect("etcd can be run"));
    }
}

impl Member {
    /// What `/health` answers.
    fn is_well(&self) -> bool {
        self.ask("GET /health HTTP/1.0\r\n\r\n")
            .is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    fn status(&self) -> io::Result<Status> {
        let answer = self.post("/v3/maintenance/status", "{}")?;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let said: Value = serde_json::from_str(body)?;
        let member = said["header"]["member_id"].as_str().unwrap_or_default();
        Ok(Status {
            member: member.to_owned(),
            leads: said["leader"].as_str() == Some(member),
            term: said["raftTerm"].as_str().and_then(|term| term.parse().ok()),
        })
    }

    fn post(&self, path: &str, body: &str) -> io::Result<String> {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn ask(&self, request: &str) -> io::Result<String> {
        let mut stream = self.host.connect(self.host.address(), CLIENT_PORT)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn arguments(host: &Host, directory: &Path, initial: &str) -> Vec<String> {
    let (address, data) = (host.address(), directory.join("data"));
    [
        ("--name", host.name().to_owned()),
        ("--data-dir", data.display().to_string()),
        (
            "--listen-peer-urls",
            format!("http://{address}:{PEER_PORT}"),
        ),
        (
            "--initial-advertise-peer-urls",
            format!("http://{address}:{PEER_PORT}"),
        ),
        (
            "--listen-client-urls",
            format!("http://{address}:{CLIENT_PORT}"),
        ),
        (
            "--advertise-client-urls",
            format!("http://{address}:{CLIENT_PORT}"),
        ),
        ("--initial-cluster", initial.to_owned()),
        ("--initial-cluster-token", "testbed".to_owned()),
        ("--log-level", "warn".to_owned()),
        ("--logger", "zap".to_owned()),
        ("--log-outputs", "stderr".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}
