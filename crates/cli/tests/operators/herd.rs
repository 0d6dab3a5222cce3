//! A herd of three on this machine whose agents run, and what is typed in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};

use manada_agent::control;
use manada_herd::Home;
use manada_testbed::{Programs, free_port, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json as value};

use crate::typed::{Herd, json, program_with};

/// The nodes at first.
pub(crate) const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// A herd and its agents, which end with it.
pub(crate) struct Protected {
    agents: Vec<(String, Child)>,
    pub(crate) herd: Herd,
}

impl Protected {
    /// Led by n1, asynchronous. `init` is said to `manada init` besides.
    pub(crate) fn start(programs: &Programs, init: &[&str]) -> Protected {
        Protected::of(programs, init, &["n2", "n3"])
    }

    /// The same with these standbys.
    pub(crate) fn of(programs: &Programs, init: &[&str], standbys: &[&str]) -> Protected {
        let (herd, _) = Herd::init(programs, init);
        for standby in standbys {
            herd.joined(standby);
        }
        let mut protected = Protected {
            herd,
            agents: Vec::new(),
        };
        protected.start_agent("n1");
        for standby in standbys {
            protected.start_agent(standby);
        }
        protected.led_by_with("n1", standbys.len());
        protected
    }

    fn agent_command(&self, node: &str) -> Command {
        self.agent_command_of(Path::new(env!("CARGO_BIN_EXE_manada")), node)
    }

    /// `PROGRAM run` as it is typed the first time.
    pub(crate) fn agent_command_of(&self, program: &Path, node: &str) -> Command {
        let store = self.herd.scratch.path().join("store.db");
        let home = self.herd.home(node);
        let log = self.herd.scratch.path().join(format!("{node}.log"));
        let mut command = program_with(program, &["run", "--home", &home]);
        command
            .args(["--store", &format!("sqlite:{}", store.display())])
            .args(["--listen", &format!("127.0.0.1:{}", free_port())])
            .args(["--health", &format!("127.0.0.1:{}", free_port())])
            .current_dir(self.herd.scratch.path())
            .stderr(File::create(log).expect("a log"));
        command
    }

    pub(crate) fn start_agent(&mut self, node: &str) {
        let command = self.agent_command(node);
        self.start_agent_by(node, command);
    }

    pub(crate) fn start_agent_by(&mut self, node: &str, mut command: Command) {
        let child = command.spawn().expect("the agent runs");
        self.agents.push((node.to_owned(), child));
    }

    pub(crate) fn signal_agent(&self, node: &str, signal: Signal) {
        let mut agents = self.agents.iter();
        let (_, agent) = agents.find(|(name, _)| name == node).expect("it runs");
        kill_process(Pid::from_child(agent), signal).expect("told");
    }

    /// Has an agent end by a signal, and tells how it ended.
    pub(crate) fn end_agent(&mut self, node: &str, signal: Signal) -> ExitStatus {
        self.signal_agent(node, signal);
        let place = self.agents.iter().position(|(name, _)| name == node);
        let (_, agent) = &mut self.agents[place.expect("it runs")];
        let mut ended = None;
        wait_until("the agent has ended", || {
            ended = agent.try_wait().expect("it is ours");
            ended.is_some()
        });
        self.agents.retain(|(name, _)| name != node);
        ended.expect("it has")
    }

    /// Kills an agent (`kill -9`), and nothing else.
    pub(crate) fn kill_agent(&mut self, node: &str) {
        let place = self.agents.iter().position(|(name, _)| name == node);
        let (_, mut agent) = self.agents.remove(place.expect("it runs"));
        agent.kill().expect("killed");
        agent.wait().expect("reaped");
    }

    /// Kills a node's agent and its postmaster, as when its host is lost.
    pub(crate) fn lose(&mut self, node: &str) {
        self.kill_agent(node);
        let pid = self.postmaster(node);
        kill_process(pid, Signal::KILL).expect("killed");
    }

    pub(crate) fn postmaster(&self, node: &str) -> Pid {
        let file = self.path(node).join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("it runs");
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        pid.and_then(Pid::from_raw).expect("a process id")
    }

    /// What an agent says of itself and the record; nothing where it gives no answer.
    pub(crate) fn view(&self, node: &str) -> Option<Value> {
        let home = Home::at(&self.path(node)).expect("absolute");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let view = runtime.block_on(control::view(&control::socket(&home)));
        view.ok()
            .map(|view| serde_json::to_value(view).expect("own types have string keys"))
    }

    pub(crate) fn path(&self, node: &str) -> PathBuf {
        self.herd.home(node).into()
    }

    /// A command as it is typed on the host of `node`.
    pub(crate) fn output(&self, node: &str, words: &[&str]) -> Output {
        let home = self.herd.home(node);
        let mut arguments = words.to_vec();
        arguments.extend(["--format", "json", "--home", &home]);
        self.herd.manada(&arguments)
    }

    pub(crate) fn typed(&self, node: &str, words: &[&str]) -> Value {
        json(&self.output(node, words))
    }

    /// Its report, or null while it fails.
    pub(crate) fn try_typed(&self, node: &str, words: &[&str]) -> Value {
        serde_json::from_slice(&self.output(node, words).stdout).unwrap_or_default()
    }

    /// Has commits wait for any one standby. That is refused while none streams: one whose settings
    /// have just changed connects anew.
    pub(crate) fn synchronous(&self, node: &str) {
        wait_until("commits wait for a standby", || {
            self.output(node, &["sync", "any", "1"]).status.success()
        });
    }

    /// Waits until that leader's commits wait for any of these.
    pub(crate) fn counts_on(&self, leader: &str, standbys: Value) {
        wait_for("the policy's names", value!([leader, standbys]), || {
            let status = self.try_typed(leader, &["status"]);
            let published = &status["protection"]["policies"][0];
            value!([published["leader"], published["policy"]["standbys"]])
        });
    }

    /// Waits until that node leads and two others stream from it, by their agents' own word.
    pub(crate) fn led_by(&self, leader: &str) {
        self.led_by_with(leader, 2);
    }

    /// The same with another number of standbys.
    pub(crate) fn led_by_with(&self, leader: &str, standbys: usize) {
        let expected = value!([leader, standbys]);
        wait_for("all nodes in their places", expected, || {
            let why = self.try_typed(leader, &["why"]);
            let nodes = why["nodes"].as_array().cloned().unwrap_or_default();
            let following = nodes
                .iter()
                .filter(|node| node["standing"]["streams"] == true);
            value!([why["leader"], following.count()])
        });
    }

    /// Waits until another node than that one leads and lets clients in.
    pub(crate) fn led_by_another_than(&self, old: &str) -> &'static str {
        let mut leader = None;
        wait_until("another leads", || {
            leader = NODES.into_iter().find(|node| {
                let view = self.try_typed(node, &["why"]);
                *node != old
                    && view["leader"] == *node
                    && self
                        .herd
                        .try_sql(node, "SELECT pg_is_in_recovery()")
                        .as_deref()
                        == Ok("f")
            });
            leader.is_some()
        });
        leader.expect("found")
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        for (_, agent) in &mut self.agents {
            // One that has ended is as good.
            agent.kill().ok();
            agent.wait().ok();
        }
    }
}
