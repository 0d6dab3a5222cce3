//! What operators meet in a herd that agents protect, with real servers and agents.

mod archive;
mod herd;
mod joining;
mod service;
#[path = "../typed/mod.rs"]
mod typed;

use manada_testbed::{Outcome, Programs, trials};
use serde_json::{Value, json as value};

use archive::the_archive_goes_on_under_each_new_timeline;
use herd::Protected;
use joining::{
    a_dead_node_is_removed_and_its_certificate_is_of_no_use,
    a_newcomer_joins_by_the_primary_that_survived,
};
use service::{
    the_service_manager_is_told_and_the_server_left_alone, the_unit_file_is_one_for_systemd,
};
use typed::{Herd, said};

trials![
    an_operator_moves_the_primary_and_is_told_why,
    a_command_without_an_agent_says_so,
    the_archive_goes_on_under_each_new_timeline,
    the_service_manager_is_told_and_the_server_left_alone,
    the_unit_file_is_one_for_systemd,
    a_newcomer_joins_by_the_primary_that_survived,
    a_dead_node_is_removed_and_its_certificate_is_of_no_use,
];

fn an_operator_moves_the_primary_and_is_told_why() -> Outcome {
    let protected = Protected::start(&Programs::any()?, &[]);
    let herd = &protected.herd;

    protected.synchronous("n3");
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
        value!(["n1", "n2", true]),
        "{}",
        protected.typed("n3", &["why"])
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
