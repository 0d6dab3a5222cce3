//! `manada run` as it is typed, on a herd of one machine: it fails over, rejoins, and leaves what it
//! should alone.

mod crowded;
mod etcd;
mod herd;
mod load_balancer;
mod lost;
mod refusing;
mod starting;
#[path = "../typed/mod.rs"]
mod typed;

use std::fs;

use manada_testbed::{Outcome, Programs, trials, wait_until};

use crowded::a_primary_without_a_free_connection_is_left_alone;
use herd::{Protected, status_of};
use load_balancer::LoadBalancer;
use lost::{
    a_herd_whose_file_was_deleted_goes_on_without_a_pause,
    a_herd_whose_leader_can_not_vouch_for_its_record_elects,
    a_store_that_goes_back_or_begins_anew_is_not_believed,
};
use refusing::a_store_that_takes_no_more_is_told_and_obeyed_never_later;
use starting::a_mistake_in_a_configuration_costs_no_data_and_is_named;
use typed::{manada, refused};

trials![
    a_killed_primary_is_replaced_and_comes_back,
    a_killed_agent_costs_no_failover_and_takes_up_its_work,
    an_asynchronous_primary_without_its_agent_is_killed_and_replaced,
    a_server_that_was_promoted_by_hand_is_cloned_anew,
    a_degraded_herd_says_since_when,
    a_lone_survivor_leads_once_an_operator_accepts_the_loss,
    a_setting_that_wins_over_the_agents_is_said_wherever_one_looks,
    health_checks_are_answered_as_patroni_answers,
    the_doctor_advises_no_restart_that_an_agent_takes_for_a_failure,
    haproxy_as_configured_for_patroni_finds_the_primary,
    what_would_not_be_safe_is_refused_with_its_reason,
    a_herd_whose_file_was_deleted_goes_on_without_a_pause,
    a_herd_whose_leader_can_not_vouch_for_its_record_elects,
    a_store_that_goes_back_or_begins_anew_is_not_believed,
    a_mistake_in_a_configuration_costs_no_data_and_is_named,
    a_store_that_takes_no_more_is_told_and_obeyed_never_later,
    a_primary_without_a_free_connection_is_left_alone,
];

fn a_killed_primary_is_replaced_and_comes_back(programs: Programs) -> Outcome {
    let herd = Protected::of_three(&programs, "any");
    herd.sql(
        "n1",
        "SET synchronous_commit = on; CREATE TABLE kept AS SELECT 42 AS number",
    );
    let leader = herd.kill_until_replaced("n1");
    assert_eq!(herd.sql(leader, "SELECT number FROM kept"), "42");
    herd.sql(leader, "INSERT INTO kept VALUES (43)");
    wait_until("the old primary streams from the new one", || {
        herd.sql(
            leader,
            "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'n1' AND state = 'streaming'",
        ) == "1"
    });
    wait_until("commits may wait for it again", || {
        herd.standing(leader)["policy"]["standbys"]
            .as_array()
            .is_some_and(|standbys| standbys.iter().any(|name| name == "n1"))
    });
    wait_until("it has the row that was written meanwhile", || {
        herd.try_sql("n1", "SELECT count(*) FROM kept").as_deref() == Ok("2")
    });
    Ok(())
}

fn a_killed_agent_costs_no_failover_and_takes_up_its_work() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "any");
    let started = "SELECT pg_postmaster_start_time()";
    let before = herd.sql("n1", started);
    herd.kill_agent("n1");
    // The lease has lapsed by then.
    wait_until("a standby has asked the primary's server itself", || {
        herd.obstacles("n2").contains(&"leader_answers".to_owned())
    });
    herd.sql("n1", "CREATE TABLE written AS SELECT 1");
    herd.start_agent("n1");
    wait_until("the agent leads again", || {
        herd.health("n1", "/primary") == 200
    });
    wait_until("its sign of life is seen", || {
        herd.obstacles("n2").contains(&"lease_holds".to_owned())
    });
    assert_eq!(herd.epoch("n1"), 1);
    assert_eq!(herd.sql("n1", started), before);
    Ok(())
}

fn an_asynchronous_primary_without_its_agent_is_killed_and_replaced() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "off");
    herd.kill_agent("n1");
    let leader = herd.wait_for_other_leader("n1");
    let gone = herd.try_sql("n1", "SELECT 1");
    assert!(
        gone.is_err(),
        "its server went on beside {leader}: {gone:?}"
    );
    Ok(())
}

fn a_server_that_was_promoted_by_hand_is_cloned_anew() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    // Its agent stops it as soon as it sees it, perhaps before an answer could be given.
    herd.sql("n2", "SELECT pg_promote(wait => false)");
    herd.try_sql("n2", "CREATE TABLE ghost AS SELECT 1").ok();
    let journal = herd.path("n2").join("agent/journal.jsonl");
    wait_until("its agent clones it, and says why", || {
        let said = fs::read_to_string(&journal).unwrap_or_default();
        said.lines()
            .any(|line| line.contains("\"rejoin\"") && line.contains("promoted_by_hand"))
    });
    herd.sql("n1", "CREATE TABLE kept AS SELECT 42 AS number");
    wait_until("it has what its leader has, and nothing else", || {
        let rows =
            "SELECT number, to_regclass('ghost') FROM kept WHERE to_regclass('ghost') IS NULL";
        herd.try_sql("n2", rows).as_deref() == Ok("42")
    });
    assert_eq!(herd.epoch("n1"), 1);
    Ok(())
}

fn a_degraded_herd_says_since_when() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "any");
    herd.degrade_when_short("n1");
    let began = jiff::Timestamp::now();
    for standby in ["n2", "n3"] {
        herd.kill_agent(standby);
        herd.kill_postmaster(standby);
    }
    wait_until(
        "commits wait for nobody, and status says since when",
        || {
            let protection = herd.protection("n1");
            let since = protection["degraded_since"].as_str();
            let since: Option<jiff::Timestamp> = since.and_then(|text| text.parse().ok());
            protection["degraded"] == true && since.is_some_and(|since| since > began)
        },
    );
    herd.sql("n1", "CREATE TABLE written AS SELECT 1");
    herd.start_agent("n2");
    wait_until("commits wait for a standby again", || {
        let protection = herd.protection("n1");
        protection["degraded"] == false && protection["degraded_since"].is_null()
    });
    Ok(())
}

fn a_lone_survivor_leads_once_an_operator_accepts_the_loss() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "any");
    herd.degrade_when_short("n1");
    for lost in ["n2", "n1"] {
        herd.kill_agent(lost);
        herd.kill_postmaster(lost);
    }
    wait_until("it can't be sure to have every commit", || {
        herd.obstacles("n3").contains(&"not_covered".to_owned())
    });
    let home = herd.home("n3");
    let accepted = manada(&[
        "failover",
        "--yes",
        "--allow-data-loss=any",
        "--home",
        &home,
    ])
    .output();
    let accepted = accepted.expect("manada runs");
    assert!(accepted.status.success(), "{accepted:?}");
    assert_eq!(herd.health("n3", "/primary"), 200);
    herd.sql("n3", "CREATE TABLE written AS SELECT 1");
    Ok(())
}

fn a_setting_that_wins_over_the_agents_is_said_wherever_one_looks() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    let file = herd.path("n1").join("data/postgresql.conf");
    let before = fs::read_to_string(&file).expect("there");
    fs::write(&file, format!("{before}synchronous_standby_names = ''\n")).expect("written");
    herd.sql("n1", "SELECT pg_reload_conf()");
    let is_foreign = |herd: &Protected| {
        let obstacles = herd.obstacles("n1");
        obstacles.contains(&"foreign_setting".to_owned())
    };
    wait_until("the agent sees it", || is_foreign(&herd));
    // A failover then reckons with lost commits, and the primary with its lease.
    wait_until("its herd counts as asynchronous", || {
        herd.published("n1") == [0, 1]
    });
    let line = before.lines().count() + 1;
    let place = format!("line {line} of {}", file.display());
    for command in ["status", "why"] {
        let output = manada(&[command, "--home", &herd.home("n1")]).output();
        let text = String::from_utf8(output.expect("manada runs").stdout).expect("text");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&place), "{command}: {text}");
        assert!(words.contains("pg_reload_conf()"), "{command}: {text}");
    }
    let metrics = herd.asked("n1", "GET", "/metrics");
    assert!(metrics.contains("setting_foreign{scope=\"main\",name=\"n1\"} 1\n"));
    let agent = herd.path("n1").join("log/agent.log");
    assert!(fs::read_to_string(agent).expect("there").contains(&place));
    let journal = herd.path("n1").join("agent/journal.jsonl");
    assert!(
        fs::read_to_string(journal)
            .expect("there")
            .contains("postgresql.conf")
    );

    let other = herd.path("n2").join("data/postgresql.conf");
    let others = fs::read_to_string(&other).expect("there");
    fs::write(&other, format!("{others}synchronous_standby_names = '*'\n")).expect("written");
    herd.sql("n2", "SELECT pg_reload_conf()");
    wait_until("the standby's agent sees it", || {
        herd.obstacles("n2").contains(&"foreign_setting".to_owned())
    });
    let home = herd.home("n1");
    let handed = manada(&["switchover", "--to", "n2", "--home", &home]).output();
    let (code, error) = refused(&handed.expect("manada runs"));
    assert_eq!(code, 4, "{error}");
    let words = error.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("this node can't be promoted"), "{error}");

    fs::write(&file, before).expect("written");
    herd.sql("n1", "SELECT pg_reload_conf()");
    wait_until("nobody else sets it", || !is_foreign(&herd));
    wait_until("one policy is published", || herd.published("n1") == [1]);
    assert_eq!(herd.epoch("n1"), 1);
    Ok(())
}

fn health_checks_are_answered_as_patroni_answers() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    wait_until("both standbys stream", || {
        // What it knows of the leader's WAL comes with a sign of life.
        herd.health("n2", "/replica?lag=16MB") == 200
            && herd
                .asked("n1", "GET", "/metrics")
                .contains("followers_streaming{scope=\"main\",name=\"n1\"} 2\n")
    });
    for (path, on_primary, on_standby) in [
        ("/", 200, 503),
        ("/primary", 200, 503),
        ("/master", 200, 503),
        ("/read-write", 200, 503),
        ("/replica", 503, 200),
        ("/replica?lag=16MB", 503, 200),
        ("/sync", 503, 200),
        ("/async", 503, 503),
        ("/read-only", 200, 200),
        ("/health", 200, 200),
        ("/readiness", 200, 200),
        ("/liveness", 200, 200),
        ("/patroni", 200, 200),
        ("/cluster", 200, 200),
        ("/metrics", 200, 200),
        ("/elsewhere", 404, 404),
    ] {
        // The agent brings its server's settings in line first: a walreceiver starts anew.
        wait_until(path, || {
            (herd.health("n1", path), herd.health("n2", path)) == (on_primary, on_standby)
        });
    }
    let cluster = herd.asked("n1", "GET", "/cluster");
    assert!(cluster.contains(r#""role":"leader""#), "{cluster}");
    let metrics = herd.asked("n1", "GET", "/metrics");
    for figure in [
        "manada_primary{scope=\"main\",name=\"n1\"} 1\n",
        "manada_gate_open{scope=\"main\",name=\"n1\"} 1\n",
        "manada_sync_standbys_needed{scope=\"main\",name=\"n1\"} 1\n",
        "# TYPE manada_epoch counter\n",
    ] {
        assert!(metrics.contains(figure), "{figure} is missing:\n{metrics}");
    }
    let options = herd.asked("n2", "OPTIONS", "/primary");
    assert_eq!(status_of(&options), 503);
    assert!(options.ends_with("\r\n\r\n"), "it has a body: {options}");
    assert_eq!(status_of(&herd.asked("n1", "POST", "/primary")), 405);
    // More connections that ask nothing than there are places.
    let idle: Vec<_> = (0..300).map(|_| herd.connected_to_health("n1")).collect();
    assert_eq!(herd.health("n1", "/primary"), 200);
    drop(idle);
    Ok(())
}

fn haproxy_as_configured_for_patroni_finds_the_primary() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    let balancer = LoadBalancer::before(&herd)?;
    wait_until("a write passes", || {
        balancer.write("CREATE TABLE IF NOT EXISTS kept ()").is_ok()
    });
    let leader = herd.kill_until_replaced("n1");
    let port = "SHOW port";
    let expected = Ok(herd.port(leader).to_string());
    wait_until("the new primary is found", || {
        balancer.write(port) == expected
            && balancer.write("CREATE TABLE IF NOT EXISTS more ()").is_ok()
    });
    wait_until("all standbys are read from, and nothing else", || {
        let mut asked: Vec<_> = (0..4).map(|_| balancer.read(port)).collect();
        asked.sort();
        asked.dedup();
        asked.len() == 2 && asked.iter().all(|port| port.is_ok() && *port != expected)
    });
    Ok(())
}

fn the_doctor_advises_no_restart_that_an_agent_takes_for_a_failure() -> Outcome {
    let herd = Protected::of_three(&Programs::any()?, "any");
    let advice = || {
        let output = manada(&["doctor", "--home", &herd.home("n1")]).output();
        String::from_utf8(output.expect("manada runs").stdout).expect("text")
    };
    // Its agent has to be at work before anybody can see it.
    wait_until("it is advised to hand over first", || {
        advice().contains("manada switchover")
    });
    // Without an archive it is about archive_mode, which takes a restart.
    let advice = advice();
    assert!(advice.contains("archive_mode"), "{advice}");
    assert!(!advice.contains("pg_ctl restart"), "{advice}");
    Ok(())
}

fn what_would_not_be_safe_is_refused_with_its_reason() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "any");
    let run = |herd: &Protected, node: &str, more: &[&str]| {
        let mut command = manada(&["run", "--home", &herd.home(node)]);
        refused(&command.args(more).output().expect("manada runs"))
    };
    let (code, error) = run(&herd, "n2", &[]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("runs already"), "{error}");
    let pid = herd.agent_pid("n2");
    assert!(error.contains(&format!("process {pid}")), "{error}");

    let sync = |herd: &Protected, names: &[&str]| {
        let mut command = manada(&["sync", "first", "1", "--home", &herd.home("n1")]);
        refused(&command.args(names).output().expect("manada runs"))
    };
    let (code, error) = sync(&herd, &["n1"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("n1 leads"), "{error}");
    let (code, error) = sync(&herd, &["n2", "n2"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("n2 is named twice"), "{error}");

    let (code, error) = run(&herd, "n2", &["--store", "sqlite:/elsewhere.store"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("can't be changed"), "{error}");

    herd.kill_agent("n2");
    let promise = herd.path("n2").join("agent/promise.json");
    fs::write(&promise, "{").expect("damaged");
    let (code, error) = run(&herd, "n2", &[]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("is damaged"), "{error}");
    fs::remove_file(&promise).expect("removed");
    let (code, error) = run(&herd, "n2", &[]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("is missing"), "{error}");
    assert!(!promise.exists(), "a promise was made up");
    Ok(())
}
