//! What `status` tells.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use manada_testbed::{Outcome, Programs, TestServer, wait_until};
use serde_json::Value;

use crate::servers::{SILENT_SECONDS, run, three, uri_of};
use crate::steady::{shape, steady};
use crate::typed::{code, json, node, said, stdout};

pub(crate) fn status_tells_who_follows_whom_and_what_would_be_lost(programs: Programs) -> Outcome {
    let [primary, s1, s2] = three(&programs);
    primary.set("synchronous_standby_names", "FIRST 1 (s1, s2)");
    primary.wait_for(
        "SELECT string_agg(sync_state, ',' ORDER BY application_name) FROM pg_stat_replication",
        "sync,potential",
    );
    primary.query("CREATE TABLE written AS SELECT 1");
    wait_until("nothing is on its way", || {
        let caught_up = "SELECT bool_and(replay_lsn = pg_current_wal_flush_lsn()) \
                         AND bool_and(replay_lag IS NULL) FROM pg_stat_replication";
        primary.value(caught_up) == "t"
    });
    let uri = uri_of(&[&primary, &s1, &s2]);
    let status = json(&run(&["status", "--format", "json", "-d", &uri]));
    assert_eq!(status["format"], "manada.status/1");
    assert_eq!(node(&status, "p1")["role"], "primary");
    let s1_node = node(&status, "s1");
    assert_eq!(s1_node["role"], "standby");
    assert_eq!(s1_node["upstream"]["node"], "p1");
    let sync = &s1_node["upstream"]["walsender"]["progress"]["sync_state"];
    assert_eq!(sync, "sync");
    assert!(s1_node["lag"]["replay"]["bytes"].is_u64());
    assert_eq!(status["policy"]["policy"], "FIRST 1 (s1, s2)");
    assert_eq!(status["loss"]["kind"], "nothing_acknowledged");
    assert_eq!(status["problems"], serde_json::json!([]));
    insta::assert_json_snapshot!("status_json", shape(&status));

    let mut text = String::new();
    // The server itself writes WAL now and then.
    wait_until("nothing is on its way", || {
        text = stdout(&run(&["status", "-d", &uri]));
        steady(&text).matches("0 B 0 B 0 B").count() == 2
    });
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!("status_text", steady(&text));

    // Asynchronous, and no standby at hand: what was written since is at risk.
    json(&run(&["sync", "off", "--format", "json", "-d", &uri]));
    s2.stop();
    s1.pause();
    primary.query("INSERT INTO written SELECT generate_series(1, 1000)");
    let uri = uri_of(&[&primary, &s1]);
    let behind = json(&run(&[
        "status",
        "--format",
        "json",
        "--timeout",
        SILENT_SECONDS,
        "-d",
        &uri,
    ]));
    s1.resume();
    assert_eq!(behind["loss"]["kind"], "up_to", "{behind:#}");
    assert!(
        behind["loss"]["bytes"].as_u64() > Some(1000),
        "{:#}",
        behind["loss"]
    );
    assert_eq!(node(&behind, "s1")["state"], "unreachable");
    // Its upstream still tells how far it was.
    assert!(node(&behind, "s1")["lag"]["flush"]["bytes"].as_u64() > Some(1000));
    Ok(())
}

pub(crate) fn status_finds_the_primary_from_a_cascade() -> Outcome {
    let programs = Programs::any()?;
    let primary = TestServer::with(&programs)
        .setting("cluster_name", "p1")
        .start();
    let s1 = TestServer::with(&programs)
        .setting("cluster_name", "s1")
        .start_standby_of(&primary, "s1");
    let c1 = TestServer::with(&programs)
        .setting("cluster_name", "c1")
        .start_standby_of(&s1, "c1");
    s1.wait_for(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
        "1",
    );
    let status = json(&run(&["status", "--format", "json", "-d", &c1.uri()]));
    assert_eq!(node(&status, "p1")["role"], "primary");
    assert_eq!(node(&status, "s1")["upstream"]["node"], "p1");
    assert_eq!(node(&status, "c1")["upstream"]["node"], "s1");
    let names = status["nodes"].as_array().expect("nodes").iter();
    let names: Vec<_> = names.map(|node| node["name"].clone()).collect();
    assert_eq!(names, ["p1", "s1", "c1"]);
    Ok(())
}

pub(crate) fn status_does_not_hang_on_the_dead_and_the_paused() -> Outcome {
    let primary = TestServer::start(&Programs::any()?);
    // It accepts connections, as the kernel does for it, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_port = silent.local_addr().expect("bound").port();
    let uri = format!(
        "postgresql://postgres:{}@127.0.0.1:{silent_port},127.0.0.1:{}/postgres",
        primary.password(),
        primary.port()
    );
    let begun = Instant::now();
    let status = json(&run(&[
        "status",
        "--format",
        "json",
        "--timeout",
        SILENT_SECONDS,
        "-d",
        &uri,
    ]));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let nodes = status["nodes"].as_array().expect("nodes");
    let states: Vec<_> = nodes.iter().map(|node| node["state"].clone()).collect();
    assert_eq!(states, ["answered", "unreachable"]);
    assert_eq!(status["loss"]["kind"], "unknown");
    Ok(())
}

pub(crate) fn status_says_what_a_role_may_not_see() -> Outcome {
    let programs = Programs::any()?;
    let [primary, _s1, _s2] = three(&programs);
    let password = primary.password();
    primary.query(&format!(
        "CREATE ROLE monitor LOGIN PASSWORD '{password}' IN ROLE pg_monitor;
         CREATE ROLE stranger LOGIN PASSWORD '{password}'"
    ));
    let uri = |role: &str| primary.uri().replace("//postgres:", &format!("//{role}:"));
    let seen = json(&run(&["status", "--format", "json", "-d", &uri("monitor")]));
    assert_eq!(
        node(&seen, "s1")["upstream"]["walsender"]["progress"]["state"],
        "streaming"
    );
    let hidden = json(&run(&[
        "status",
        "--format",
        "json",
        "-d",
        &uri("stranger"),
    ]));
    assert_eq!(
        node(&hidden, "s1")["upstream"]["walsender"]["progress"],
        "hidden"
    );
    assert_eq!(hidden["loss"]["reason"], "hidden");
    let text = stdout(&run(&["status", "-d", &uri("stranger")]));
    assert!(
        text.contains("GRANT") && text.contains("pg_monitor"),
        "{text}"
    );
    Ok(())
}

pub(crate) fn status_exits_with_3_when_nobody_answers() -> Outcome {
    let port = manada_testbed::free_port();
    let uri = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
    let output = run(&["status", "-d", &uri]);
    assert_eq!(code(&output), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("Connection refused"),
        "{}",
        said(&output)
    );
    let output = run(&["status", "--format", "json", "-d", &uri]);
    assert_eq!(code(&output), Some(3));
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["loss"]["reason"], "nothing_answered");
    Ok(())
}
