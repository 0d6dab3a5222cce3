//! The practice, played: every step of it is shown, and what is printed can be used.

use std::process::Command;

use insta::{Settings, assert_snapshot};
use manada_testbed::{Missing, Outcome, Programs};
use serde_json::Value;

use crate::lab::{MANADA, Place, on_a_host_of_its_own};

pub(crate) fn every_version_plays_the_practice_and_leaves_nothing(programs: Programs) -> Outcome {
    let place = Place::new(&programs);
    let text = place.succeed(&["--rm", "--lang", "en"]);
    for shown in [
        "wal_level = replica",
        "hostssl replication replicator 127.0.0.1/32 scram-sha-256",
        "CREATE ROLE replicator",
        "pg_basebackup",
        "test_replication",
        "ERROR 25006",
        "synchronous_standby_names",
        "sync_state",
        "SyncRep",
        "test_sync_replication",
        "pg_switch_wal",
        "manada wal fetch",
    ] {
        assert!(text.contains(shown), "{shown} is not shown:\n{text}");
    }
    assert_eq!(place.entries(), [""; 0]);
    assert_eq!(place.processes(), [""; 0]);
    Ok(())
}

pub(crate) fn the_practice_reads_well_in_english() -> Outcome {
    snapshot("en")
}

pub(crate) fn the_practice_reads_well_in_spanish() -> Outcome {
    snapshot("es")
}

fn snapshot(language: &str) -> Outcome {
    let place = Place::new(&Programs::any()?);
    let text = place.succeed(&["--lang", language]);
    place.succeed(&["rm"]);
    assert!(
        text.lines()
            .all(|line| line.chars().count() <= 80 || line.contains("postgresql://"))
    );
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.add_filter(&regex(&place.directory().display().to_string()), "[place]");
    settings.add_filter(r" *(<1 ms|\d+(\.\d+)? m?s\b)", " [time]");
    settings.add_filter(r"\b5[4-9]\d\d\b", "[port]");
    settings.add_filter(r"\d+\.\d+ MiB", "[size]");
    settings.add_filter(r"\b\d\d\.\d+\b", "[version]");
    settings.add_filter(r"\b0000000100000000[0-9A-F]{8}\b", "[segment]");
    // Whether the answer fits on the line depends on the digits of the process id.
    settings.add_filter(r"pid = \d+;\s+→", "pid = [pid]; →");
    settings.add_filter(r"bin /\S+", "bin [directory]");
    // A standby that has just answered may have no lag to tell yet.
    settings.add_filter(r"caught up( · \[time\])? +", "caught up    ");
    // The drawing is as wide as the lag it tells.
    settings.add_filter(" {4,}", "    ");
    settings.add_filter("─{4,}", "────");
    settings.bind(|| assert_snapshot!(format!("lab_{language}"), text));
    Ok(())
}

pub(crate) fn a_killed_primary_is_replaced_before_the_students_eyes() -> Outcome {
    protected_lab(
        "en",
        &[
            "3 agents watch the herd",
            "$ manada run --store sqlite:…/herd.store",
            "$ kill -9 ",
            "SELECT count(*) FROM test_failover;",
            "rows that were acknowledged are there",
            "node1 follows",
        ],
    )
}

/// What was learnt of it goes with the file in which the herd has its record, and comes back.
fn a_lab_without_its_record_says_how_to_go_on(place: &Place) {
    place.succeed(&["stop"]);
    for ending in ["", "-wal", "-shm"] {
        let file = place.home().join(format!("herd.store{ending}"));
        std::fs::remove_file(file).ok();
    }
    let refused = place.run(&["start"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("no record of the herd any more"), "{said}");
    assert!(said.contains("next: manada recover --home"), "{said}");
    let home = place.home().join("node1");
    let mut recover = Command::new(MANADA);
    recover.args(["recover", "--yes", "--home"]).arg(&home);
    let recovered = recover.output().expect("manada runs");
    assert!(recovered.status.success(), "{recovered:?}");
    place.succeed(&["start"]);
}

pub(crate) fn a_killed_primary_is_replaced_in_spanish_too() -> Outcome {
    protected_lab(
        "es",
        &[
            "3 agentes vigilan la manada",
            "$ manada run --store sqlite:…/herd.store",
            "$ kill -9 ",
            "SELECT count(*) FROM test_failover;",
            "filas confirmadas, todas",
            "node1 sigue a",
        ],
    )
}

fn protected_lab(language: &str, lines: &[&str]) -> Outcome {
    let programs = Programs::any()?;
    on_a_host_of_its_own(|| {
        let place = Place::new(&programs);
        let text = place.succeed(&["--protect", "--lang", language]);
        for line in lines {
            assert!(text.contains(line), "{line} is not shown:\n{text}");
        }
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 80 || line.contains("postgresql://")),
            "{text}"
        );
        // By then another node leads; its agents go on.
        assert_eq!(place.sql("node1", "SELECT pg_is_in_recovery()"), "t");
        if language == "en" {
            a_lab_without_its_record_says_how_to_go_on(&place);
        }
        place.succeed(&["rm"]);
        assert_eq!(place.entries(), [""; 0]);
        assert_eq!(place.processes(), [""; 0]);
    })
}

fn regex(text: &str) -> String {
    text.replace('.', r"\.")
}

pub(crate) fn several_standbys_follow_and_are_waited_for() -> Outcome {
    let place = Place::new(&Programs::any()?);
    let report = json(&place.succeed(&["--standbys", "3", "--format", "json"]));
    let roles: Vec<&str> = report["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| node["role"].as_str().expect("a role"))
        .collect();
    assert_eq!(roles, ["primary", "standby", "standby", "standby"]);
    assert_eq!(
        place.sql(
            "node1",
            "SELECT string_agg(sync_state, ' ' ORDER BY application_name) FROM pg_stat_replication"
        ),
        "sync potential potential"
    );
    for node in ["node2", "node3", "node4"] {
        assert_eq!(place.sql(node, "SELECT pg_is_in_recovery()"), "t");
        assert_eq!(
            place.sql(node, "SELECT count(*) FROM test_sync_replication"),
            "1"
        );
    }
    place.succeed(&["rm"]);
    Ok(())
}

pub(crate) fn the_uris_work_with_psql_as_printed() -> Outcome {
    let place = Place::new(&Programs::any()?).at("it's a lab");
    if Command::new("psql").arg("--version").output().is_err() {
        return Err(Missing::new(
            "no psql: install Debian's package postgresql-client",
        ));
    }
    let text = place.succeed(&["--lang", "en"]);
    let commands: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("psql '"))
        .collect();
    let [primary, standbys] = commands[..] else {
        panic!("not two URIs:\n{text}");
    };
    let shell = |command: &str, sql: &str| {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("{command} -XAtc \"{sql}\""))
            .output()
            .expect("sh runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let where_am_i =
        "SELECT pg_is_in_recovery(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(shell(primary, where_am_i), "f|t");
    assert_eq!(shell(standbys, where_am_i), "t|t");
    assert_eq!(
        shell(
            primary,
            "CREATE TABLE mine (n int); INSERT INTO mine VALUES (1) RETURNING n"
        ),
        "CREATE TABLE\n1\nINSERT 0 1"
    );
    place.succeed(&["rm"]);
    Ok(())
}

pub(crate) fn programs_get_json() -> Outcome {
    let place = Place::new(&Programs::any()?);
    let report = json(&place.succeed(&["--rm", "--format", "json", "--lang", "es"]));
    assert_eq!(report["format"], "manada.lab/1");
    assert_eq!(report["language"], "es");
    assert_eq!(report["kept"], false);
    assert_eq!(report["uris"], Value::Null);
    let steps: Vec<&str> = report["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["step"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        steps,
        [
            "programs",
            "primary",
            "role",
            "clone",
            "follow",
            "read",
            "read_only",
            "asynchronous",
            "synchronous",
            "wait",
            "archive",
            "diagram"
        ]
    );
    let milliseconds = |name: &str| report[name].as_f64().expect("a number");
    assert!(milliseconds("machine_work_ms") > 0.0);
    assert!(milliseconds("machine_work_ms") < milliseconds("total_ms"));
    Ok(())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}
