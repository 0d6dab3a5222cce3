//! Three nodes and their agents on this machine, with their record in a file.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use manada_testbed::{Programs, free_port, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::typed::{Herd, manada};

/// How long a question about health may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// How much of an agent's log a test shows that fails.
const LOG_LINES_MAX: usize = 60;

/// How often a primary may be started in place before another takes over.
const KILLS_MAX: usize = 5;

pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// A herd whose agents run. They end before its servers do.
pub(crate) struct Protected {
    agents: Vec<Agent>,
    herd: Herd,
    store: String,
}

/// One node's agent, which is killed when it is dropped.
struct Agent {
    node: &'static str,
    health_port: u16,
    listen_port: u16,
    process: Option<Child>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            process.kill().ok();
            process.wait().ok();
        }
    }
}

/// A test that fails says what the agents said: nothing else is left of them.
impl Drop for Protected {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for agent in &self.agents {
            let log = self.path(agent.node).join("log/agent.log");
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES_MAX);
            let last = lines[last..].join("\n");
            // There is nobody to tell of a closed stream.
            let _ = writeln!(std::io::stderr(), "agent of {}:\n{last}", agent.node);
        }
    }
}

impl Protected {
    /// A primary n1 and two standbys. `sync` is `any`, of one, or `off`.
    pub(crate) fn of_three(programs: &Programs, sync: &str) -> Protected {
        Protected::with_store(programs, sync, None)
    }

    /// The same with its record in that store; in a file where none is given.
    pub(crate) fn with_store(programs: &Programs, sync: &str, store: Option<String>) -> Protected {
        let (herd, _) = Herd::init(programs, &[]);
        let in_file = || format!("sqlite:{}", herd.scratch.path().join("store").display());
        let store = store.unwrap_or_else(in_file);
        herd.joined("n2");
        herd.joined("n3");
        let home = herd.home("n1");
        let policy: &[&str] = if sync == "off" {
            &["sync", "off", "--home", &home]
        } else {
            &["sync", sync, "1", "--home", &home]
        };
        let output = herd.manada(policy);
        assert!(output.status.success(), "{output:?}");
        let agents = NODES
            .map(|node| Agent {
                node,
                health_port: free_port(),
                listen_port: free_port(),
                process: None,
            })
            .into();
        let mut protected = Protected {
            agents,
            herd,
            store,
        };
        for node in NODES {
            protected.start_agent(node);
        }
        wait_until("n1 leads", || protected.health("n1", "/primary") == 200);
        wait_until("all are members", || {
            let cluster = protected.asked("n1", "GET", "/cluster");
            cluster.matches(r#""host""#).count() == NODES.len()
        });
        // How far behind a standby is, it knows from a sign of life of a reign that has begun.
        for standby in ["n2", "n3"] {
            wait_until("a standby follows in a reign that has begun", || {
                protected.health(standby, "/replica?lag=16MB") == 200
            });
        }
        protected
    }

    fn agent(&self, node: &str) -> &Agent {
        let mut agents = self.agents.iter();
        agents.find(|agent| agent.node == node).expect("a node")
    }

    pub(crate) fn start_agent(&mut self, node: &str) {
        let home = self.herd.home(node);
        let store = self.store.clone();
        let log = File::create(self.path(node).join("log/agent.log")).expect("created");
        let agents = &mut self.agents;
        let agent = agents.iter_mut().find(|agent| agent.node == node);
        let agent = agent.expect("a node");
        let (listen, health) = (
            format!("127.0.0.1:{}", agent.listen_port),
            format!("127.0.0.1:{}", agent.health_port),
        );
        let mut command = manada(&[
            "run", "--home", &home, "--store", &store, "--listen", &listen, "--health", &health,
        ]);
        // Where it works, it is found and ended if this test is killed; its deadman too.
        command.current_dir(&home).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        agent.process = Some(command.spawn().expect("manada runs"));
    }

    pub(crate) fn agent_pid(&self, node: &str) -> u32 {
        let process = self.agent(node).process.as_ref();
        process.expect("it runs").id()
    }

    /// A connection to an agent's port for health checks that asks nothing yet.
    pub(crate) fn connected_to_health(&self, node: &str) -> TcpStream {
        let port = self.agent(node).health_port;
        TcpStream::connect(("127.0.0.1", port)).expect("it listens")
    }

    /// The file in which the record is, and those beside it.
    pub(crate) fn delete_store(&self) {
        for ending in ["", "-wal", "-shm"] {
            let file = self.herd.scratch.path().join(format!("store{ending}"));
            fs::remove_file(file).expect("it is there");
        }
    }

    /// A command as it is typed on a node's host.
    pub(crate) fn typed(&self, node: &str, words: &[&str]) -> Output {
        let home = self.home(node);
        let words = [words, &["--home", &home]].concat();
        manada(&words).output().expect("manada runs")
    }

    /// Kills an agent (`kill -9`), and nothing else.
    pub(crate) fn kill_agent(&mut self, node: &str) {
        let agents = &mut self.agents;
        let agent = agents.iter_mut().find(|agent| agent.node == node);
        let mut process = agent.and_then(|agent| agent.process.take());
        let process = process.as_mut().expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("reaped");
    }

    /// Kills a node's postmaster (`kill -9`), and nothing else.
    pub(crate) fn kill_postmaster(&self, node: &str) {
        let file = self.path(node).join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("it runs");
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::KILL).expect("killed");
    }

    /// Waits until another node than `old` leads, and lets clients in.
    pub(crate) fn wait_for_other_leader(&self, old: &str) -> &'static str {
        let mut leader = None;
        wait_until("another node leads", || {
            let mut others = NODES.into_iter().filter(|node| *node != old);
            leader = others.find(|node| self.health(node, "/primary") == 200);
            leader.is_some()
        });
        leader.expect("it was waited for")
    }

    /// Kills a primary's postmaster until another node leads. On a machine so busy that nobody
    /// takes over within the time of an election, a primary is started in place, and rightly so.
    pub(crate) fn kill_until_replaced(&self, old: &str) -> &'static str {
        for _ in 0..KILLS_MAX {
            self.kill_postmaster(old);
            wait_until("its death is known", || self.health(old, "/primary") != 200);
            let mut leader = None;
            wait_until("somebody leads", || {
                leader = NODES
                    .into_iter()
                    .find(|node| self.health(node, "/primary") == 200);
                leader.is_some()
            });
            if let Some(leader) = leader.filter(|leader| *leader != old) {
                return leader;
            }
        }
        panic!("{old} was started in place {KILLS_MAX} times");
    }

    pub(crate) fn home(&self, node: &str) -> String {
        self.herd.home(node)
    }

    pub(crate) fn path(&self, node: &str) -> PathBuf {
        Path::new(&self.herd.home(node)).to_owned()
    }

    /// A place for what a test leaves beside the nodes.
    pub(crate) fn directory(&self) -> &Path {
        self.herd.scratch.path()
    }

    /// The port of a node's server.
    pub(crate) fn port(&self, node: &str) -> u16 {
        let port = self.sql(node, "SHOW port");
        port.parse().expect("a port")
    }

    /// The port on which its agent is asked about its health.
    pub(crate) fn health_port(&self, node: &str) -> u16 {
        self.agent(node).health_port
    }

    pub(crate) fn sql(&self, node: &str, sql: &str) -> String {
        self.herd.sql(node, sql)
    }

    pub(crate) fn try_sql(&self, node: &str, sql: &str) -> Result<String, String> {
        self.herd.try_sql(node, sql)
    }

    /// The status code of an answer about a node's health; 0 where nobody answers.
    pub(crate) fn health(&self, node: &str, path: &str) -> u16 {
        self.try_ask(node, "GET", path)
            .map_or(0, |answer| status_of(&answer))
    }

    /// The whole answer of a node's agent, its head included.
    pub(crate) fn asked(&self, node: &str, method: &str, path: &str) -> String {
        self.try_ask(node, method, path).expect("an answer")
    }

    fn try_ask(&self, node: &str, method: &str, path: &str) -> std::io::Result<String> {
        let port = self.health_port(node);
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What `/patroni` says of Manada's own; nothing where nobody answers.
    fn told(&self, node: &str) -> Value {
        let answer = self.try_ask(node, "GET", "/patroni").unwrap_or_default();
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        body["manada"].clone()
    }

    /// Has commits wait for fewer when there are not enough.
    pub(crate) fn degrade_when_short(&self, node: &str) {
        let home = self.home(node);
        let policy = [
            "sync",
            "any",
            "1",
            "--when-short",
            "degrade",
            "--home",
            &home,
        ];
        let output = manada(&policy).output().expect("manada runs");
        assert!(output.status.success(), "{output:?}");
    }

    /// How the herd is protected, as `manada status` on a node says.
    pub(crate) fn protection(&self, node: &str) -> Value {
        let output = manada(&["status", "--format", "json", "--home", &self.home(node)]).output();
        let output = output.expect("manada runs");
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["protection"].clone()
    }

    /// How many standbys each of the published policies asks for, as `manada status` says.
    pub(crate) fn published(&self, node: &str) -> Vec<u64> {
        let protection = self.protection(node);
        let policies = protection["policies"].as_array().cloned();
        let policies = policies.unwrap_or_default();
        let counts = policies.iter().map(|one| one["policy"]["count"].as_u64());
        counts.map(Option::unwrap_or_default).collect()
    }

    pub(crate) fn standing(&self, node: &str) -> Value {
        self.told(node)["standing"].clone()
    }

    pub(crate) fn epoch(&self, node: &str) -> u64 {
        self.told(node)["epoch"].as_u64().expect("an epoch")
    }

    /// The names of what keeps a node from doing anything.
    pub(crate) fn obstacles(&self, node: &str) -> Vec<String> {
        let told = self.told(node);
        let obstacles = told["obstacles"].as_array().cloned().unwrap_or_default();
        let names = obstacles
            .iter()
            .filter_map(|obstacle| obstacle["obstacle"].as_str());
        names.map(str::to_owned).collect()
    }
}

/// The status code of an answer; 0 where it has none.
pub(crate) fn status_of(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).unwrap_or_default();
    code.parse().unwrap_or(0)
}
