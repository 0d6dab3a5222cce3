//! `status`, `sync` and `verify` as they are typed, against servers that Manada never touched.

mod steady;
mod typed;

use std::fs;
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use manada_testbed::{Outcome, PATIENCE, Programs, TestServer, poll_until, trials, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use steady::{shape, steady};
use typed::{Herd, code, json, manada, node, said, stdout};

trials![
    status_tells_who_follows_whom_and_what_would_be_lost,
    status_finds_the_primary_from_a_cascade,
    status_does_not_hang_on_the_dead_and_the_paused,
    status_says_what_a_role_may_not_see,
    status_exits_with_3_when_nobody_answers,
    sync_is_in_force_when_it_returns,
    sync_refuses_what_would_hang_unless_forced,
    sync_does_not_believe_a_reload_the_checkpointer_has_not_seen,
    sync_reports_a_standby_that_does_not_answer_and_leaves_no_waiting_commit,
    sync_writes_a_nodes_managed_settings,
    verify_follows_writes_and_compares_the_data,
    verify_names_what_differs,
    verify_names_a_standby_that_stands_still,
];

/// How long one server may take to answer, in seconds, where nobody is meant to be silent: this
/// machine may be busy.
const PATIENT_SECONDS: &str = "20";
/// The same where somebody is.
const SILENT_SECONDS: &str = "3";

/// Runs `manada` with all the time it may need.
fn run(arguments: &[&str]) -> Output {
    if arguments.contains(&"--timeout") {
        return typed::run(arguments);
    }
    typed::run(&[arguments, &["--timeout", PATIENT_SECONDS]].concat())
}

/// A URI that lists several servers, the way libpq does.
fn uri_of(servers: &[&TestServer]) -> String {
    let hosts: Vec<String> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port()))
        .collect();
    let password = servers[0].password();
    format!(
        "postgresql://postgres:{password}@{}/postgres",
        hosts.join(",")
    )
}

/// A primary and two standbys of it, all streaming.
fn three(programs: &Programs) -> [TestServer; 3] {
    let primary = TestServer::with(programs)
        .setting("cluster_name", "p1")
        .setting("wal_retrieve_retry_interval", "100ms")
        .start();
    let standby = |name: &str| {
        TestServer::with(programs)
            .setting("cluster_name", name)
            .start_standby_of(&primary, name)
    };
    let standbys = ["s1", "s2"].map(standby);
    primary.wait_for(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' \
         AND replay_lsn = pg_current_wal_flush_lsn()",
        "2",
    );
    let [one, two] = standbys;
    [primary, one, two]
}

fn status_tells_who_follows_whom_and_what_would_be_lost(programs: Programs) -> Outcome {
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

fn status_finds_the_primary_from_a_cascade() -> Outcome {
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

fn status_does_not_hang_on_the_dead_and_the_paused() -> Outcome {
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

fn status_says_what_a_role_may_not_see() -> Outcome {
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

fn status_exits_with_3_when_nobody_answers() -> Outcome {
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

fn sync_is_in_force_when_it_returns(programs: Programs) -> Outcome {
    let [primary, _s1, _s2] = three(&programs);
    let uri = primary.uri();
    let before = primary.value("SELECT count(*) FROM pg_class");
    let first = run(&["sync", "first", "1", "-d", &uri]);
    assert_eq!(code(&first), Some(0), "{}", said(&first));
    assert!(
        stdout(&first).contains("a commit was seen waiting"),
        "{}",
        said(&first)
    );
    assert_eq!(
        primary.value(
            "SELECT string_agg(sync_state, ',' ORDER BY application_name) FROM pg_stat_replication"
        ),
        "sync,potential"
    );
    assert_eq!(
        primary.value("SHOW synchronous_standby_names"),
        "FIRST 1 (s1, s2)"
    );

    let any = json(&run(&[
        "sync", "any", "2", "s2", "s1", "--format", "json", "-d", &uri,
    ]));
    assert_eq!(any["from"], "FIRST 1 (s1, s2)");
    assert_eq!(any["to"], "ANY 2 (s2, s1)");
    assert_eq!(any["in_force"]["proof"], "acknowledged");
    assert_eq!(any["in_force"]["flushed"], 2);
    assert_eq!(any["spare"], 0);
    let dry = run(&["sync", "off", "--dry-run", "-d", &uri]);
    assert_eq!(code(&dry), Some(0));
    assert_eq!(
        primary.value("SHOW synchronous_standby_names"),
        "ANY 2 (s2, s1)"
    );
    let both = stdout(&run(&["sync", "first", "2", "-d", &uri]));
    // Whether the probe is seen waiting before it returns is a matter of luck by then: the policy
    // was synchronous before.
    let (plan, proof) = both.split_once("In force after").expect("a proof");
    insta::assert_snapshot!("sync_text", steady(plan));
    assert!(proof.contains("2 standbys"), "{both}");

    let off = run(&["sync", "off", "-d", &uri]);
    assert_eq!(code(&off), Some(0), "{}", said(&off));
    assert_eq!(primary.value("SHOW synchronous_standby_names"), "");
    assert_eq!(primary.value("SELECT count(*) FROM pg_class"), before);
    Ok(())
}

fn sync_refuses_what_would_hang_unless_forced() -> Outcome {
    let [primary, _s1, _s2] = three(&Programs::any()?);
    let uri = primary.uri();
    let refused = run(&["sync", "first", "1", "ghost", "-d", &uri]);
    assert_eq!(code(&refused), Some(4), "{}", said(&refused));
    assert!(
        said(&refused).contains("not streaming: ghost"),
        "{}",
        said(&refused)
    );
    assert_eq!(primary.value("SHOW synchronous_standby_names"), "");
    for wrong in [
        &["sync", "any", "0"][..],
        &["sync", "first"],
        &["sync", "any", "1", "*"],
        &["sync", "off", "1"],
    ] {
        let output = run(&[wrong, &["-d", &uri]].concat());
        assert_eq!(code(&output), Some(2), "{}", said(&output));
    }

    let forced = json(&run(&[
        "sync", "first", "1", "ghost", "--force", "--format", "json", "-d", &uri,
    ]));
    assert_eq!(forced["in_force"]["proof"], "waiting");
    assert_eq!(
        primary.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
        "0"
    );
    let status = json(&run(&["status", "--format", "json", "-d", &uri]));
    assert_eq!(status["problems"][0]["kind"], "policy_unsatisfied");

    primary.query(
        "SET synchronous_commit = local; ALTER ROLE postgres SET synchronous_commit = local",
    );
    let warned = run(&["sync", "any", "1", "-d", &uri]);
    assert_eq!(code(&warned), Some(0), "{}", said(&warned));
    assert!(
        stdout(&warned).contains("synchronous_commit = local"),
        "{}",
        said(&warned)
    );
    Ok(())
}

/// From empty to non-empty a reload is not enough: backends follow a flag that the checkpointer sets.
fn sync_does_not_believe_a_reload_the_checkpointer_has_not_seen(programs: Programs) -> Outcome {
    if programs.version() == manada_model::MajorVersion::V18 {
        // Its backends look at the setting themselves until the checkpointer has set the flag.
        return Ok(());
    }
    let [primary, s1, _s2] = three(&programs);
    let checkpointer =
        primary.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    let checkpointer = Pid::from_raw(checkpointer.parse().expect("a number")).expect("a process");
    kill_process(checkpointer, Signal::STOP).expect("stopped");
    s1.pause();
    let believed = run(&[
        "sync",
        "first",
        "1",
        "s1",
        "--within",
        "3",
        "-d",
        &primary.uri(),
    ]);
    s1.resume();
    kill_process(checkpointer, Signal::CONT).expect("goes on");
    assert_eq!(code(&believed), Some(5), "{}", said(&believed));
    assert!(
        said(&believed).contains("commits returned"),
        "{}",
        said(&believed)
    );
    assert!(
        said(&believed).contains("go back: manada sync off"),
        "{}",
        said(&believed)
    );
    let again = run(&["sync", "first", "1", "s1", "-d", &primary.uri()]);
    assert_eq!(code(&again), Some(0), "{}", said(&again));
    Ok(())
}

fn sync_reports_a_standby_that_does_not_answer_and_leaves_no_waiting_commit() -> Outcome {
    let [primary, s1, _s2] = three(&Programs::any()?);
    let uri = primary.uri();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    s1.pause();
    let found = run(&["sync", "first", "1", "s1", "--within", "3", "-d", &uri]);
    assert_eq!(code(&found), Some(1), "{}", said(&found));
    assert!(
        stdout(&found).contains("they don't answer"),
        "{}",
        said(&found)
    );
    assert_eq!(primary.value(waiting), "0");

    // Interrupted while its probe waits, it ends that wait.
    let mut interrupted = manada(&["sync", "any", "1", "s1", "--within", "60", "-d", &uri])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("manada runs");
    let session = primary.session();
    wait_until("the probe waits", || session.value(waiting) == "1");
    kill_process(Pid::from_child(&interrupted), Signal::INT).expect("told to stop");
    let ended = interrupted.wait().expect("it ends");
    assert_eq!(ended.code(), Some(130));
    assert!(
        poll_until(PATIENCE, || session.value(waiting) == "0"),
        "a commit still waits"
    );
    s1.resume();
    Ok(())
}

fn sync_writes_a_nodes_managed_settings() -> Outcome {
    let (herd, _) = Herd::init(&Programs::any()?, &[]);
    herd.joined("n2");
    let home = herd.home("n1");
    let set = run(&["sync", "first", "1", "--home", &home]);
    assert_eq!(code(&set), Some(0), "{}", said(&set));
    let data = std::path::Path::new(&home).join("data");
    let read = |name: &str| fs::read_to_string(data.join(name)).expect("readable");
    assert!(
        read("manada.conf").contains("synchronous_standby_names = 'FIRST 1 (n2)'"),
        "{}",
        read("manada.conf")
    );
    assert!(!read("postgresql.auto.conf").contains("synchronous_standby_names"));
    // The superuser's own session passes policies by; that is not what clients do.
    let status = json(&run(&["status", "--format", "json", "--home", &home]));
    assert_eq!(status["policy"]["synchronous_commit"], "on");
    assert_eq!(status["loss"]["kind"], "nothing_acknowledged");

    herd.sql("n1", "ALTER SYSTEM SET synchronous_standby_names = ''");
    let overridden = run(&["sync", "off", "--home", &home]);
    assert_eq!(code(&overridden), Some(4), "{}", said(&overridden));
    assert!(said(&overridden).contains("ALTER SYSTEM RESET synchronous_standby_names"));
    let verified = run(&["verify", "--digest", "--home", &home]);
    assert_eq!(code(&verified), Some(0), "{}", said(&verified));
    Ok(())
}

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

fn verify_follows_writes_and_compares_the_data(programs: Programs) -> Outcome {
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
fn verify_names_what_differs() -> Outcome {
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

fn verify_names_a_standby_that_stands_still() -> Outcome {
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
