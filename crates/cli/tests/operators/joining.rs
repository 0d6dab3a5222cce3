//! Who comes, and who goes, when the host on which the herd was made is lost.

use std::fs;

use manada_testbed::{Outcome, Programs, free_port, wait_for, wait_until};
use serde_json::json as value;

use crate::herd::Protected;
use crate::typed::{code, json, node, said};

pub(crate) fn a_newcomer_joins_by_the_primary_that_survived() -> Outcome {
    let mut protected = Protected::of(&Programs::any()?, &[], &["n2"]);
    let degrade = ["sync", "any", "1", "--when-short", "degrade"];
    // On a busy machine it may stream later: then fewer are waited for meanwhile, which exit code 1 says.
    let set = protected.output("n1", &degrade);
    assert!(matches!(code(&set), Some(0 | 1)), "{}", said(&set));
    protected.counts_on("n1", value!(["n2"]));
    protected
        .herd
        .sql("n1", "CREATE TABLE kept AS SELECT 42 AS number");

    protected.lose("n1");
    // Nothing of that host can be had: not its program's home, and not its keys.
    let (home, lost) = (protected.path("n1"), protected.path("lost"));
    fs::rename(&home, &lost).expect("renamed");
    assert_eq!(protected.led_by_another_than("n1"), "n2");
    let herd = &protected.herd;
    let joined = herd.join_by("n2", "n3", free_port()).output();
    json(&joined.expect("manada runs"));
    protected.start_agent("n3");
    protected.led_by_with("n2", 1);
    protected.counts_on("n2", value!(["n3"]));
    wait_until("the newcomer has the rows", || {
        protected
            .herd
            .try_sql("n3", "SELECT number FROM kept")
            .as_deref()
            == Ok("42")
    });

    fs::rename(&lost, &home).expect("renamed");
    protected.start_agent("n1");
    protected.led_by_with("n2", 2);
    protected.counts_on("n2", value!(["n1", "n3"]));
    // Those that came by different primaries follow each other.
    let moved = protected.typed("n1", &["switchover", "--to", "n3"]);
    assert_eq!(moved["done"], true, "{moved}");
    protected.led_by("n3");
    protected.herd.sql("n3", "INSERT INTO kept VALUES (43)");
    let joined = protected.herd.join_by("n3", "n4", free_port()).output();
    json(&joined.expect("manada runs"));
    Ok(())
}

pub(crate) fn a_dead_node_is_removed_and_its_certificate_is_of_no_use() -> Outcome {
    let mut protected = Protected::start(&Programs::any()?, &[]);
    protected.synchronous("n1");
    protected.counts_on("n1", value!(["n2", "n3"]));
    let by_itself = protected.output("n3", &["remove"]);
    assert_eq!(code(&by_itself), Some(4), "{}", said(&by_itself));
    assert!(
        said(&by_itself).contains("manada remove n3"),
        "{}",
        said(&by_itself)
    );

    protected.lose("n3");
    let removed = protected.typed("n1", &["remove", "n3"]);
    assert_eq!(removed["node"], "n3");
    let view = protected.view("n1").expect("an answer");
    let record = &view["record"]["value"];
    assert_eq!(record["members"]["n3"], value!(null), "{record}");
    assert_eq!(record["policies"][0]["policy"]["standbys"], value!(["n2"]));
    let count = "SELECT count(*) FROM manada.member, pg_replication_slots \
                 WHERE name = 'n3' OR slot_name = 'manada_n3'";
    assert_eq!(protected.herd.sql("n1", count), "0");
    let status = protected.typed("n1", &["status"]);
    assert_eq!(node(&status, "n2")["name"], "n2");
    protected.herd.sql("n1", "CREATE TABLE written AS SELECT 1");

    // Its agent comes back, and has nothing to say any more.
    protected.start_agent("n3");
    wait_for("what it is", value!("outsider"), || {
        protected.view("n3").unwrap_or_default()["standing"]["standing"].clone()
    });
    for words in [["switchover"], ["pause"], ["failover"]] {
        let refused = protected.output("n3", &words);
        assert!(!refused.status.success(), "{}", said(&refused));
    }
    let view = protected.view("n1").expect("an answer");
    assert_eq!(view["record"]["value"]["mode"], "automatic");
    assert_eq!(view["record"]["value"]["leader"], "n1");
    Ok(())
}
