//! What operators type in a herd that agents protect, with real servers and agents.

mod typed;

use std::fs::File;
use std::process::{Child, Output};

use manada_testbed::{Outcome, Programs, free_port, trials, wait_for};
use serde_json::{Value, json as value};

use typed::{Herd, json, manada, said};

trials![
    an_operator_moves_the_primary_and_is_told_why,
    a_command_without_an_agent_says_so,
];

/// A herd of three and its agents, which end with it.
struct Protected {
    herd: Herd,
    agents: Vec<Child>,
}

impl Protected {
    fn start(programs: &Programs) -> Protected {
        let (herd, _) = Herd::init(programs, &[]);
        herd.joined("n2");
        herd.joined("n3");
        let mut protected = Protected {
            herd,
            agents: Vec::new(),
        };
        for node in ["n1", "n2", "n3"] {
            protected.run_agent(node);
        }
        protected.led_by("n1");
        protected
    }

    fn run_agent(&mut self, node: &str) {
        let store = self.herd.scratch.path().join("store.db");
        let log = self.herd.scratch.path().join(format!("{node}.log"));
        let mut command = manada(&["run", "--home", &self.herd.home(node)]);
        command
            .args(["--store", &format!("sqlite:{}", store.display())])
            .args(["--listen", &format!("127.0.0.1:{}", free_port())])
            .args(["--health", &format!("127.0.0.1:{}", free_port())])
            .current_dir(self.herd.scratch.path())
            .stderr(File::create(log).expect("a log"));
        self.agents.push(command.spawn().expect("the agent runs"));
    }

    /// A command as it is typed on the host of `node`.
    fn output(&self, node: &str, words: &[&str]) -> Output {
        let home = self.herd.home(node);
        let mut arguments = words.to_vec();
        arguments.extend(["--format", "json", "--home", &home]);
        self.herd.manada(&arguments)
    }

    fn typed(&self, node: &str, words: &[&str]) -> Value {
        json(&self.output(node, words))
    }

    /// Its report, or null while it fails.
    fn try_typed(&self, node: &str, words: &[&str]) -> Value {
        serde_json::from_slice(&self.output(node, words).stdout).unwrap_or_default()
    }

    /// Waits until that leader's commits wait for any of these.
    fn counts_on(&self, leader: &str, standbys: Value) {
        wait_for("the policy's names", value!([leader, standbys]), || {
            let status = self.try_typed("n1", &["status"]);
            let published = &status["protection"]["policies"][0];
            value!([published["leader"], published["policy"]["standbys"]])
        });
    }

    /// Waits until that node leads and the two others stream from it, by their agents' own word.
    fn led_by(&self, leader: &str) {
        wait_for("all nodes in their places", value!([leader, 2]), || {
            let why = self.try_typed("n1", &["why"]);
            let nodes = why["nodes"].as_array().cloned().unwrap_or_default();
            let following = nodes
                .iter()
                .filter(|node| node["standing"]["streams"] == true);
            value!([why["leader"], following.count()])
        });
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            // One that has ended is as good.
            agent.kill().ok();
            agent.wait().ok();
        }
    }
}

fn an_operator_moves_the_primary_and_is_told_why() -> Outcome {
    let protected = Protected::start(&Programs::any()?);
    let herd = &protected.herd;

    let synchronous = protected.typed("n3", &["sync", "any", "1"]);
    assert_eq!(synchronous["format"], "manada.policy/1");
    assert_eq!(synchronous["policy"]["count"], 1);
    // A standby counts once it has streamed for a while.
    protected.counts_on("n1", value!(["n2", "n3"]));
    herd.sql("n1", "CREATE TABLE seen AS SELECT 42 AS number");

    // Typed on a host that does not lead.
    let refused = protected.output("n3", &["switchover", "--to", "nobody"]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    let planned = protected.typed("n3", &["switchover", "--to", "n2", "--dry-run"]);
    assert_eq!(planned["done"], false);
    let moved = protected.typed("n3", &["switchover", "--to", "n2"]);
    assert_eq!(
        value!([moved["from"], moved["to"], moved["done"]]),
        value!(["n1", "n2", true])
    );
    assert_eq!(herd.sql("n2", "SELECT number FROM seen"), "42");
    assert_eq!(herd.sql("n2", "SELECT pg_is_in_recovery()"), "f");
    protected.led_by("n2");

    let paused = protected.typed("n1", &["pause"]);
    assert_eq!(
        value!([paused["was"], paused["mode"]]),
        value!(["automatic", "paused"])
    );
    let status = protected.typed("n3", &["status"]);
    assert_eq!(status["protection"]["mode"], "paused");
    assert_eq!(status["protection"]["leader"], "n2");
    protected.typed("n2", &["resume"]);

    let unasked = protected.output("n1", &["failover"]);
    assert_eq!(unasked.status.code(), Some(2), "{}", said(&unasked));
    protected.counts_on("n2", value!(["n1", "n3"]));
    let elected = protected.typed("n1", &["failover", "--to", "n3", "--yes"]);
    assert_eq!(elected["at_risk_bytes"], 0);
    assert_ne!(elected["to"], "n2");

    let why = protected.typed("n1", &["why"]);
    let failovers = why["failovers"].as_array().expect("a list");
    for reason in ["leader_resigned", "operator_asked"] {
        let told = |failover: &Value| failover["reason"]["because"] == reason;
        assert!(failovers.iter().any(told), "{reason}: {why}");
    }
    Ok(())
}

fn a_command_without_an_agent_says_so() -> Outcome {
    let (herd, _) = Herd::init(&Programs::any()?, &[]);
    for words in [["pause"], ["resume"], ["switchover"], ["failover"], ["why"]] {
        let mut arguments = words.to_vec();
        let home = herd.home("n1");
        arguments.extend(["--home", &home]);
        let output = herd.manada(&arguments);
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains("manada run"), "{}", said(&output));
    }
    Ok(())
}
