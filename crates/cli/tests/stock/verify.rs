//! What `verify` proves.

use std::fs;
use std::time::Duration;

use manada_testbed::{Outcome, Programs, TestServer};
use serde_json::Value;

use crate::servers::{SILENT_SECONDS, run, three, uri_of};
use crate::steady::{shape, steady};
use crate::typed::{code, json, said, stdout};

const KINDS_OF_TABLES: &str = "
    CREATE TABLE without_key (number int, word text);
    INSERT INTO without_key VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (2, '');
    CREATE TABLE large AS SELECT g AS id, repeat(md5(g::text), 400) AS toasted FROM generate_series(1, 300) AS g;
    CREATE TABLE parted (key int, word text) PARTITION BY RANGE (key);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    INSERT INTO parted VALUES (1, 'one');
    CREATE TABLE \"odd \"\"name; \" (t text, \"manada_row\" int, json json, point point);
    INSERT INTO \"odd \"\"name; \" VALUES ('t', 1, '{}', '(1,2)');
    CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES;
    CREATE UNLOGGED TABLE forgotten AS SELECT 1;
    CREATE MATERIALIZED VIEW unfilled AS SELECT 1 WITH NO DATA;
    CREATE SEQUENCE counter; SELECT nextval('counter') FROM generate_series(1, 40);
    CREATE SEQUENCE down INCREMENT -1; SELECT nextval('down');";

pub(crate) fn verify_follows_writes_and_compares_the_data(programs: Programs) -> Outcome {
    let [primary, s1, s2] = three(&programs);
    primary.query(KINDS_OF_TABLES);
    let uri = uri_of(&[&primary, &s1, &s2]);
    json(&run(&["sync", "any", "2", "--format", "json", "-d", &uri]));
    let before = primary.value("SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class");

    // Writes go on meanwhile, one of them in a transaction that stays open.
    let open = primary.session();
    open.query("BEGIN; INSERT INTO without_key VALUES (99, 'open')");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = primary.session();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                writer.query("INSERT INTO without_key VALUES (3, 'busy')");
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let output = run(&[
            "verify", "--rounds", "5", "--digest", "--format", "json", "-d", &uri,
        ]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        json(&output)
    });
    assert_eq!(report["format"], "manada.verify/1");
    assert_eq!(report["holds"], true, "{report:#}");
    assert_eq!(report["acknowledged"]["needed"], 2);
    assert_eq!(report["acknowledged"]["broken"], 0);
    let standbys = report["standbys"].as_array().expect("standbys");
    assert_eq!(standbys.len(), 2);
    for standby in standbys {
        assert_eq!(standby["refuses_writes"], true);
        assert_eq!(standby["readable"]["rounds"], 5);
    }
    let database = &report["databases"][0];
    assert_eq!(
        (&database["tables"], &database["sequences"]),
        (&5.into(), &2.into())
    );
    let skipped = database["skipped"].as_array().expect("skipped");
    let reasons: Vec<_> = skipped
        .iter()
        .map(|table| table["reason"].clone())
        .collect();
    assert_eq!(reasons, ["unlogged", "not_populated"]);
    insta::assert_json_snapshot!("verify_json", shape(&report));
    open.query("ROLLBACK");
    let after = primary.value("SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class");
    assert_eq!(after, before, "something is left behind");

    let quiet = run(&["verify", "--rounds", "3", "-d", &uri]);
    insta::assert_snapshot!("verify_text", steady(&stdout(&quiet)));
    Ok(())
}

/// A page of the standby's file is changed behind its server's back.
pub(crate) fn verify_names_what_differs() -> Outcome {
    let programs = Programs::any()?;
    let primary = TestServer::with(&programs).without_checksums().start();
    primary.query(
        "CREATE TABLE hay AS SELECT 'needle-in-' || g AS word FROM generate_series(1, 9) AS g",
    );
    primary.query("CREATE TABLE other AS SELECT 1");
    let file = primary.value("SELECT pg_relation_filepath('hay')");
    let standby = TestServer::with(&programs).start_standby_of(&primary, "s1");
    primary.query("CHECKPOINT");
    primary.wait_for(
        "SELECT replay_lsn = pg_current_wal_flush_lsn() FROM pg_stat_replication",
        "t",
    );
    standby.stop();
    let path = standby.data().join(file);
    let mut page = fs::read(&path).expect("the table's file");
    let found = page.windows(11).position(|bytes| bytes == b"needle-in-7");
    let at = found.expect("the row is on disk");
    page[at] = b'N';
    fs::write(&path, page).expect("written");
    standby.start_again();
    primary.wait_for(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
        "1",
    );
    let uri = uri_of(&[&primary, &standby]);
    let output = run(&[
        "verify", "--rounds", "1", "--digest", "--format", "json", "-d", &uri,
    ]);
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let differences = &report["databases"][0]["differences"];
    assert_eq!(
        differences,
        &serde_json::json!([{
            "table": "public.hay", "standby": "s1", "primary_rows": 9, "standby_rows": 9
        }])
    );
    let text = stdout(&run(&["verify", "--rounds", "1", "--digest", "-d", &uri]));
    assert!(text.contains("public.hay differs on s1"), "{text}");
    Ok(())
}

pub(crate) fn verify_names_a_standby_that_stands_still() -> Outcome {
    let [primary, s1, s2] = three(&Programs::any()?);
    let uri = uri_of(&[&primary, &s1, &s2]);
    s2.query("SELECT pg_wal_replay_pause()");
    s2.wait_for("SELECT pg_get_wal_replay_pause_state()", "paused");
    let output = run(&[
        "verify", "--rounds", "2", "--within", "5", "--format", "json", "-d", &uri,
    ]);
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let standbys = report["standbys"].as_array().expect("standbys");
    assert_eq!(
        (&standbys[0]["name"], &standbys[0]["holds"]),
        (&"s1".into(), &true.into())
    );
    assert_eq!(
        (&standbys[1]["name"], &standbys[1]["missed_round"]),
        (&"s2".into(), &1.into())
    );

    // A synchronous commit that nobody acknowledges is given up, and leaves nobody waiting.
    primary.set("synchronous_standby_names", "FIRST 1 (s1)");
    primary.wait_for(
        "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'",
        "1",
    );
    s1.pause();
    let output = run(&[
        "verify",
        "--within",
        "5",
        "--timeout",
        SILENT_SECONDS,
        "--format",
        "json",
        "-d",
        &uri,
    ]);
    s1.resume();
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["stopped_in_round"], 1, "{report:#}");
    assert_eq!(
        primary.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
        "0"
    );
    Ok(())
}
