//! What operators type in a herd that agents protect, with real servers and agents.

mod typed;

use std::fs::File;
use std::process::{Child, Output};

use manada_testbed::{Outcome, Programs, free_port, trials, wait_for, wait_until};
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
        wait_for("all nodes in their places", value!(["n1", 3]), || {
            let why = protected.try_typed("n2", &["why"]);
            value!([why["leader"], why["nodes"].as_array().map_or(0, Vec::len)])
        });
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

    fn streams_to(&self, node: &str, count: usize) {
        wait_for("the standbys to stream", count.to_string(), || {
            let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
            self.herd.try_sql(node, streaming).unwrap_or_default()
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

fn an_operator_moves_the_primary_and_is_told_why(programs: Programs) -> Outcome {
    let protected = Protected::start(&programs);
    let herd = &protected.herd;
    protected.streams_to("n1", 2);

    let synchronous = protected.typed("n3", &["sync", "any", "1"]);
    assert_eq!(synchronous["format"], "manada.policy/1");
    assert_eq!(synchronous["policy"]["standbys"], value!(["n2", "n3"]));
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
    assert!(moved["without_writes_ms"].as_u64().is_some(), "{moved}");
    assert_eq!(herd.sql("n2", "SELECT number FROM seen"), "42");
    assert_eq!(herd.sql("n2", "SELECT pg_is_in_recovery()"), "f");
    protected.streams_to("n2", 2);

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
    wait_until("n2 to be a leader whose commits count on both", || {
        let status = protected.try_typed("n1", &["status"]);
        status["protection"]["policies"][0]["policy"]["standbys"] == value!(["n1", "n3"])
    });
    let elected = protected.typed("n1", &["failover", "--to", "n3", "--yes"]);
    assert_eq!(elected["at_risk_bytes"], 0);
    assert_ne!(elected["to"], "n2");

    let why = protected.typed("n1", &["why"]);
    let reasons: Vec<&Value> = (why["failovers"].as_array().expect("a list").iter())
        .map(|failover| &failover["reason"]["because"])
        .collect();
    assert_eq!(
        value!(reasons),
        value!(["leader_resigned", "operator_asked"])
    );
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
