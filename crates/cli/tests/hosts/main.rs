//! Herds across hosts: each host has its own address, name and node; the commands are those that
//! people type.

mod debian;
mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use debian::{DebianServer, Writer};
use machine::Machine;
use manada_model::MajorVersion;
use manada_testbed::faults::Partition;
use manada_testbed::{Missing, Network, Outcome, PATIENCE, Programs, trials};
use serde_json::Value;

trials![
    two_hosts_replicate_after_init_and_join,
    a_third_host_joins,
    a_standby_that_was_cut_off_catches_up_on_its_slot,
    status_answers_at_once_though_a_standby_is_unreachable,
    status_of_a_paused_host_answers_in_bounded_time,
    sync_switches_across_hosts_without_a_restart,
    a_commit_waits_for_its_partitioned_standby_and_returns_when_it_is_back,
    removing_a_dead_standby_frees_the_commit_that_waits_for_it,
    a_standby_that_leaves_takes_its_slot_rule_and_name_along,
    a_dry_adoption_of_a_debian_server_changes_nothing,
    a_debian_server_is_adopted_without_losing_a_row,
];

/// `status` waits a second for each server, for all at once. The rest is a loaded machine's.
const STATUS_MAX: Duration = Duration::from_secs(5);

/// Within this, what waits for nobody has returned.
const SOON: Duration = Duration::from_millis(500);

/// How the primary sees the standby `$1` in one word.
const STREAMING: &str = "SELECT coalesce(max(state), 'absent') FROM pg_stat_replication \
                         WHERE application_name = ";

/// A primary `db1` and its first standby `db2`.
fn pair(programs: &Programs) -> Result<(Network, Machine, Machine), Missing> {
    let network = Network::new()?;
    let primary = Machine::new(&network, "db1", programs);
    primary.init();
    let standby = Machine::new(&network, "db2", programs);
    standby.join(&primary);
    Ok((network, primary, standby))
}

fn two_hosts_replicate_after_init_and_join(programs: Programs) -> Outcome {
    let (_network, primary, standby) = pair(&programs)?;
    primary.sql("CREATE TABLE test_replication AS SELECT 42 AS number");
    standby.wait_for("SELECT to_regclass('test_replication') IS NOT NULL", "t");
    assert_eq!(standby.sql("SELECT number FROM test_replication"), "42");
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");

    // What follows is the standby's walreceiver: from its address, over TLS, on its own slot.
    let seen = primary.sql(
        "SELECT concat_ws(' ', application_name, host(client_addr), state, ssl, active, wal_status)
         FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)
         JOIN pg_replication_slots ON active_pid = pid",
    );
    let address = standby.host.address();
    assert_eq!(seen, format!("db2 {address} streaming t t reserved"));
    assert!(!standby.sql("SHOW primary_conninfo").contains("password="));
    Ok(())
}

fn a_third_host_joins() -> Outcome {
    let (network, primary, second) = pair(&Programs::any()?)?;
    let third = Machine::new(&network, "db3", &Programs::any()?);
    third.join(&primary);
    primary.sql("CREATE TABLE seen AS SELECT 1 AS number");
    for standby in [&second, &third] {
        standby.wait_for("SELECT to_regclass('seen') IS NOT NULL", "t");
    }
    // Everybody knows everybody, and each is let in to replicate from its own address alone.
    for node in [&primary, &second, &third] {
        let members = node.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM manada.member");
        assert_eq!(members, "db1 db2 db3");
    }
    let addresses = primary.sql(
        "SELECT string_agg(address || '/' || netmask, ' ' ORDER BY address) FROM pg_hba_file_rules
         WHERE database = '{replication}' AND user_name = '{replicator}'",
    );
    let single = |node: &Machine| format!("{}/255.255.255.255", node.host.address());
    let expected = [&primary, &second, &third].map(single);
    assert_eq!(addresses, expected.join(" "));
    Ok(())
}

fn a_standby_that_was_cut_off_catches_up_on_its_slot() -> Outcome {
    let (_network, primary, standby) = pair(&Programs::any()?)?;
    primary.sql("CREATE TABLE counted (number int)");
    let partition = Partition::between(&primary.host, &standby.host);
    // More than one segment, so that the slot has something to keep.
    primary.sql(
        "INSERT INTO counted SELECT generate_series(1, 100000); SELECT pg_switch_wal();
         INSERT INTO counted VALUES (0); CHECKPOINT",
    );
    partition.heal();
    standby.wait_for("SELECT count(*) FROM counted", "100001");
    primary.wait_for(&format!("{STREAMING}'db2'"), "streaming");
    Ok(())
}

fn status_answers_at_once_though_a_standby_is_unreachable() -> Outcome {
    let (_network, primary, standby) = pair(&Programs::any()?)?;
    let states = states(&primary);
    assert_eq!(
        states,
        [("db1", "answered"), ("db2", "answered")].map(owned)
    );

    let _partition = Partition::isolating(&standby.host);
    let began = Instant::now();
    let states = self::states(&primary);
    assert!(
        began.elapsed() < STATUS_MAX,
        "it took {:?}",
        began.elapsed()
    );
    assert_eq!(
        states,
        [("db1", "answered"), ("db2", "unreachable")].map(owned)
    );

    // From the other side too, where the primary is the silent one.
    let states = self::states(&standby);
    assert_eq!(
        states,
        [("db1", "unreachable"), ("db2", "answered")].map(owned)
    );
    Ok(())
}

fn status_of_a_paused_host_answers_in_bounded_time() -> Outcome {
    let (_network, primary, standby) = pair(&Programs::any()?)?;
    standby.host.pause();
    let began = Instant::now();
    let states = states(&primary);
    let took = began.elapsed();
    standby.host.resume();
    assert!(took < STATUS_MAX, "it took {took:?}");
    assert_eq!(
        states,
        [("db1", "answered"), ("db2", "unreachable")].map(owned)
    );
    Ok(())
}

/// What `manada status` says of each node, as seen from this machine.
#[track_caller]
fn states(machine: &Machine) -> Vec<(String, String)> {
    let report = machine.report(&["status"]);
    let nodes = report["nodes"].as_array().expect("a list of nodes");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut states: Vec<_> = nodes
        .iter()
        .map(|node| (text(&node["name"]), text(&node["state"])))
        .collect();
    states.sort();
    states
}

fn owned((name, state): (&str, &str)) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

fn sync_switches_across_hosts_without_a_restart() -> Outcome {
    let programs = Programs::any()?;
    let (network, primary, _second) = pair(&programs)?;
    Machine::new(&network, "db3", &programs).join(&primary);
    let started = "SELECT pg_postmaster_start_time()";
    let before = primary.sql(started);
    let states = "SELECT string_agg(application_name || ' ' || sync_state, ', '
                  ORDER BY application_name) FROM pg_stat_replication";

    for (policy, states_then) in [
        (["sync", "first", "1"].as_slice(), "db2 sync, db3 potential"),
        (&["sync", "first", "1", "db3"], "db2 async, db3 sync"),
        (&["sync", "any", "2"], "db2 quorum, db3 quorum"),
        (&["sync", "off"], "db2 async, db3 async"),
    ] {
        primary.report(policy);
        assert_eq!(primary.sql(states), states_then, "{policy:?}");
    }
    assert_eq!(primary.sql(started), before);
    Ok(())
}

fn a_commit_waits_for_its_partitioned_standby_and_returns_when_it_is_back() -> Outcome {
    let (_network, primary, standby) = pair(&Programs::any()?)?;
    primary.sql("CREATE TABLE waited (number int)");
    primary.report(&["sync", "first", "1"]);
    let partition = Partition::between(&primary.host, &standby.host);
    let commit = primary.start_sql("INSERT INTO waited VALUES (1)");
    assert!(commit.recv_timeout(SOON).is_err(), "nobody had it");

    // It would hang at once, so it is refused, and says so with its exit code.
    let refused = primary
        .manada(&["sync", "first", "1", "db9"])
        .output()
        .expect("manada runs");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");

    partition.heal();
    let outcome = commit.recv_timeout(PATIENCE).expect("it returns");
    assert_eq!(outcome, Ok(String::new()));
    assert_eq!(standby.sql("SELECT number FROM waited"), "1");
    Ok(())
}

fn removing_a_dead_standby_frees_the_commit_that_waits_for_it() -> Outcome {
    let (_network, primary, standby) = pair(&Programs::any()?)?;
    primary.sql("CREATE TABLE waited (number int)");
    primary.report(&["sync", "first", "1"]);
    standby.host.crash();
    let commit = primary.start_sql("INSERT INTO waited VALUES (1)");
    assert!(commit.recv_timeout(SOON).is_err(), "nobody had it");

    primary.report(&["remove", "db2"]);
    let outcome = commit.recv_timeout(PATIENCE).expect("it returns");
    assert_eq!(outcome, Ok(String::new()));
    assert_eq!(traces(&primary, &standby), NO_TRACES);
    Ok(())
}

fn a_standby_that_leaves_takes_its_slot_rule_and_name_along() -> Outcome {
    let programs = Programs::any()?;
    let (network, primary, second) = pair(&programs)?;
    let third = Machine::new(&network, "db3", &programs);
    third.join(&primary);
    primary.report(&["sync", "any", "1"]);

    primary.report(&["remove", "db2"]);
    assert_eq!(traces(&primary, &second), NO_TRACES);
    // The other one stays, and commits wait for it.
    let left = "SELECT application_name || ' ' || sync_state FROM pg_stat_replication";
    primary.wait_for(left, "db3 quorum");
    primary.sql("CREATE TABLE seen AS SELECT 1 AS number");
    third.wait_for("SELECT to_regclass('seen') IS NOT NULL", "t");
    Ok(())
}

const NO_TRACES: &str = "slots 0 rules 0 members 0 policy f";

/// What the primary still has of a standby.
fn traces(primary: &Machine, standby: &Machine) -> String {
    let name = standby.host.name();
    let address = standby.host.address();
    primary.sql(&format!(
        "SELECT format('slots %s rules %s members %s policy %s',
           (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'manada_{name}'),
           (SELECT count(*) FROM pg_hba_file_rules WHERE address = '{address}'),
           (SELECT count(*) FROM manada.member WHERE name = '{name}'),
           current_setting('synchronous_standby_names') LIKE '%{name}%')"
    ))
}

fn a_dry_adoption_of_a_debian_server_changes_nothing() -> Outcome {
    let programs = Programs::find(MajorVersion::V15)?;
    let network = Network::new()?;
    let machine = Machine::new(&network, "db1", &programs);
    let server = DebianServer::start(&machine.host)?;
    let catalog = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles";
    let before = (files(&server.configuration()), server.sql(catalog));
    let data = server.data().display().to_string();
    machine.report(&["init", "--adopt", &data, "--dry-run"]);
    let after = (files(&server.configuration()), server.sql(catalog));
    assert_eq!(before, after);
    assert!(!machine.home().exists(), "a home was made");
    Ok(())
}

fn a_debian_server_is_adopted_without_losing_a_row() -> Outcome {
    let programs = Programs::find(MajorVersion::V15)?;
    let network = Network::new()?;
    let primary = Machine::new(&network, "db1", &programs);
    let server = Arc::new(DebianServer::start(&primary.host)?);
    server.sql(
        "CREATE TABLE kept AS SELECT number, md5(number::text) FROM generate_series(1, 10000) number",
    );
    let digest = "SELECT md5(string_agg(kept::text, ',' ORDER BY number)) FROM kept";
    let kept = server.sql(digest);
    let writer = Writer::start(Arc::clone(&server));

    // Debian's server listens on localhost alone, and to change that takes a restart.
    let data = server.data().display().to_string();
    primary.report(&["init", "--adopt", &data, "--restart"]);
    let standby = Machine::new(&network, "db2", &programs);
    standby.join(&primary);

    let acknowledged = writer.stop();
    assert!(!acknowledged.is_empty());
    let values: Vec<String> = acknowledged
        .iter()
        .map(|number| format!("({number})"))
        .collect();
    let lost = format!(
        "SELECT count(*) FROM (VALUES {}) AS said (number)
         WHERE number NOT IN (SELECT number FROM acknowledged)",
        values.join(", ")
    );
    assert_eq!(primary.sql(&lost), "0");
    assert_eq!(primary.sql(digest), kept);
    standby.wait_for(&lost, "0");
    assert_eq!(standby.sql(digest), kept);

    // Once more changes nothing.
    let before = files(&server.configuration());
    primary.report(&["init", "--adopt", &data, "--restart"]);
    assert_eq!(files(&server.configuration()), before);
    Ok(())
}

/// Every file below the directory and what is in it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it is readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).expect("root may");
            found.insert(path, bytes);
        }
    }
    found
}
