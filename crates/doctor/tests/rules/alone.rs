//! Mistakes that need servers of their own: a restart, a promotion, a disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use manada_doctor::{RULES, Severity, Value, examine};
use manada_model::ServerVersion;
use manada_testbed::faults::SmallDisk;
use manada_testbed::{Outcome, Programs, TestServer};

use crate::bench::{Bench, write_for};
use crate::planted::{Planted, found_and_cured};

/// A rule's number and its test.
type RuleTest = (u16, fn() -> Outcome);

/// All tests with servers of their own.
pub(crate) const TESTS: &[RuleTest] = &[
    (12, a_slot_loses_its_wal),
    (16, the_only_slot_is_taken),
    (17, the_last_walsender_is_taken),
    (24, nothing_is_archived),
    (27, a_server_without_checksums_can_not_be_rewound),
    (29, the_disk_of_the_wal_is_full),
    (30, the_primary_has_more_connections_than_its_standby),
    (40, a_server_listens_everywhere_without_tls),
    (45, a_certificate_has_ended),
    (46, a_standby_takes_no_sessions),
    (50, a_standby_stays_on_its_timeline),
    (55, a_database_is_far_from_frozen),
    (56, a_standby_was_promoted_beside_its_primary),
    (57, an_old_primary_wrote_on_after_the_failover),
    (58, a_stranger_is_among_the_hosts),
    (59, two_hosts_sort_differently),
    (60, the_library_that_sorts_has_changed),
    (61, a_standby_is_a_minor_version_behind),
    (62, a_clock_is_an_hour_ahead),
    (64, a_server_writes_minimal_wal),
];

fn a_slot_loses_its_wal() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .setting("max_slot_wal_keep_size", "1MB")
        .setting("min_wal_size", "32MB")
        .setting("max_wal_size", "32MB")
        .start();
    server.query("SELECT pg_create_physical_replication_slot('left_behind', true)");
    for _ in 0..3 {
        server.query("SELECT pg_logical_emit_message(true, 'doctor', 'x')");
        server.query("SELECT pg_switch_wal()");
        server.query("CHECKPOINT");
    }
    let mut bench = Bench::of("p", server);
    let planted = Planted::cured_by_its_fix().seen("wal_status", "lost");
    found_and_cured(12, &mut bench, planted);
    Ok(())
}

fn the_only_slot_is_taken() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .setting("max_replication_slots", 1)
        .start();
    server.query("SELECT pg_create_physical_replication_slot('one')");
    let planted = Planted::cured_by_its_fix().seen("max_replication_slots", 1_u64);
    found_and_cured(16, &mut Bench::of("p", server), planted);
    Ok(())
}

fn the_last_walsender_is_taken() -> Outcome {
    let mut bench = Bench::pair(&Programs::any()?, &[("max_wal_senders", "2")]);
    let planted = Planted::cured_by_its_fix().seen("max_wal_senders", 2_u64);
    found_and_cured(17, &mut bench, planted);
    Ok(())
}

fn nothing_is_archived() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let planted = Planted::cured_by_its_fix().seen("archive_mode", "off");
    found_and_cured(24, &mut Bench::of("p", server), planted);
    Ok(())
}

fn a_server_without_checksums_can_not_be_rewound() -> Outcome {
    let programs = Programs::any()?;
    let primary = TestServer::with(&programs).without_checksums().start();
    let standby = TestServer::with(&programs).start_standby_of(&primary, "s1");
    let planted = Planted::cured_by_its_fix().seen("data_checksums", false);
    found_and_cured(27, &mut Bench::of("p", primary).and("s1", standby), planted);
    Ok(())
}

fn the_disk_of_the_wal_is_full() -> Outcome {
    const MEGABYTES: u32 = 64;
    let server = TestServer::start(&Programs::any()?);
    server.stop();
    let disk = SmallDisk::mount(server.directory().join("small"), MEGABYTES)?;
    let (wal, moved) = (server.data().join("pg_wal"), disk.path().join("pg_wal"));
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&wal, &moved])
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    fs::remove_dir_all(&wal).expect("the directory is ours");
    symlink(&moved, &wal).expect("the directory is ours");
    server.start_again();
    let bench = Bench::of("p", server);
    bench.silent(29);
    disk.fill();
    let found = bench.found(29);
    assert_eq!(
        found[0].value("size"),
        Some(&Value::Bytes(u64::from(MEGABYTES) << 20))
    );
    disk.make_room();
    bench.silent(29);
    // The server goes before the disk that it writes on.
    drop(bench);
    Ok(())
}

fn the_primary_has_more_connections_than_its_standby() -> Outcome {
    let mut bench = Bench::pair(&Programs::any()?, &[]);
    bench["p"].set("max_connections", "130");
    bench["p"].restart();
    let planted = Planted::cured_by_its_fix()
        .seen("max_connections on s1", 100_u64)
        .seen("max_connections on p", 130_u64);
    found_and_cured(30, &mut bench, planted);
    Ok(())
}

fn a_server_listens_everywhere_without_tls() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .setting("listen_addresses", "0.0.0.0")
        .start();
    let planted = Planted::cured_by(|bench| {
        bench["p"].set("listen_addresses", "127.0.0.1");
        bench["p"].restart();
    });
    found_and_cured(40, &mut Bench::of("p", server), planted.seen("ssl", false));
    Ok(())
}

fn a_certificate_has_ended() -> Outcome {
    let server = TestServer::with(&Programs::any()?).tls().start();
    let mut bench = Bench::of("p", server);
    bench.silent(45);
    let place = bench["p"].directory().join("server.pem");
    let key_place = bench["p"].directory().join("server.key");
    let before = (fs::read_to_string(&place), fs::read_to_string(&key_place));
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let mut parameters =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("the name is one");
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let certificate = parameters
        .self_signed(&key)
        .expect("a certificate can be made");
    write_for(&bench["p"], &place, &certificate.pem());
    write_for(&bench["p"], &key_place, &key.serialize_pem());
    bench["p"].query("SELECT pg_reload_conf()");
    assert_eq!(bench.found(45)[0].severity, Severity::Critical);
    let planted = Planted::cured_by(move |bench| {
        write_for(&bench["p"], &place, &before.0.expect("it was there"));
        write_for(&bench["p"], &key_place, &before.1.expect("it was there"));
        bench["p"].query("SELECT pg_reload_conf()");
    })
    .seen("time left", Value::Absent);
    found_and_cured(45, &mut bench, planted);
    Ok(())
}

fn a_standby_takes_no_sessions() -> Outcome {
    let mut bench = Bench::pair(&Programs::any()?, &[]);
    bench["s1"].query("ALTER SYSTEM SET hot_standby = off");
    bench["s1"].restart();
    let planted = Planted::cured_by(|bench| {
        let file = bench["s1"].data().join("postgresql.auto.conf");
        let text = fs::read_to_string(&file).expect("the file can be read");
        fs::write(&file, text.replace("hot_standby = 'off'", "")).expect("the file is ours");
        bench["s1"].restart();
    })
    .seen("server", "s1");
    found_and_cured(46, &mut bench, planted);
    // On a primary it waits for the day it becomes a standby.
    bench["p"].set("hot_standby", "off");
    bench["p"].restart();
    let planted = Planted::cured_by_its_fix().seen("hot_standby", false);
    found_and_cured(46, &mut bench, planted);
    Ok(())
}

fn a_standby_stays_on_its_timeline() -> Outcome {
    let mut bench = Bench::pair(&Programs::any()?, &[]);
    bench["s1"].set("recovery_target_timeline", "current");
    bench["s1"].restart();
    let planted = Planted::cured_by_its_fix().seen("recovery_target_timeline", "current");
    found_and_cured(50, &mut bench, planted);
    Ok(())
}

fn a_database_is_far_from_frozen() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .setting("autovacuum", "off")
        .start();
    let freeze = "SELECT datfrozenxid FROM pg_database WHERE datname = 'template1'";
    let before = server.value(freeze);
    let set = |xid: &str| {
        format!("UPDATE pg_database SET datfrozenxid = '{xid}' WHERE datname = 'template1'")
    };
    // 1,200 million before the present.
    server.query(&set("3094968000"));
    let undo = set(&before);
    let planted = Planted::cured_by(move |bench| {
        bench["p"].query(&undo);
    });
    found_and_cured(55, &mut Bench::of("p", server), planted);
    Ok(())
}

/// Promotes the standby and waits until it takes writes.
fn promote(server: &TestServer) {
    server.query("SELECT pg_promote(true, 30)");
    server.wait_for("SELECT pg_is_in_recovery()", "f");
}

fn a_standby_was_promoted_beside_its_primary() -> Outcome {
    let bench = Bench::pair(&Programs::any()?, &[]);
    bench.silent(56);
    promote(&bench["s1"]);
    let found = bench.found(56);
    assert_eq!(
        found[0].value("timeline of s1"),
        Some(&Value::Timeline(manada_model::TimelineId(2)))
    );
    bench["s1"].stop();
    bench.silent(56);
    Ok(())
}

fn an_old_primary_wrote_on_after_the_failover() -> Outcome {
    let bench = Bench::pair(&Programs::any()?, &[]);
    bench.silent(57);
    promote(&bench["s1"]);
    bench["p"].query("CREATE TABLE nobody_else_has (number int)");
    bench["p"].stop();
    write_for(&bench["p"], &bench["p"].data().join("standby.signal"), "");
    bench["p"].start_again();
    let found = bench.found(57);
    assert_eq!(found[0].server.as_deref(), Some("p"));
    Ok(())
}

fn a_stranger_is_among_the_hosts() -> Outcome {
    let programs = Programs::any()?;
    let mut bench = Bench::pair(&programs, &[]);
    bench.silent(58);
    let stranger = TestServer::with(&programs).unique().start();
    bench.strangers.push(("x".to_owned(), stranger.uri()));
    let found = bench.found(58);
    assert_eq!(found[0].server.as_deref(), Some("x"));
    Ok(())
}

/// Puts an SQL function in the place of one of PostgreSQL's own, which the standby then has too.
/// It can tell where it runs: that is how one machine plays two.
fn replace_function(server: &TestServer, signature: &str, returns: &str, body: &str) {
    let (name, arguments) = signature.split_once('(').expect("name(arguments)");
    let session = server.session();
    session.query("SET allow_system_table_mods = on");
    session.query(&format!(
        "ALTER FUNCTION pg_catalog.{signature} RENAME TO {name}_stock"
    ));
    session.query(&format!(
        "CREATE FUNCTION pg_catalog.{name}({arguments} RETURNS {returns} LANGUAGE sql AS $${body}$$"
    ));
}

fn two_hosts_sort_differently() -> Outcome {
    let bench = Bench::pair(&Programs::any()?, &[]);
    bench.silent(59);
    replace_function(
        &bench["p"],
        "pg_database_collation_actual_version(oid)",
        "text",
        "SELECT CASE WHEN pg_is_in_recovery() THEN '2.28' ELSE '2.36' END",
    );
    let versions = [("version on s1", "2.28"), ("version on p", "2.36")];
    let seen = versions.map(|(name, version)| (name.to_owned(), Value::from(version)));
    bench.found_with(59, &seen);
    Ok(())
}

fn the_library_that_sorts_has_changed() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let mut bench = Bench::of("p", server);
    bench.silent(60);
    bench["p"].query(
        "CREATE DATABASE words TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' \
         LOCALE 'C' ENCODING 'UTF8'",
    );
    bench["p"].query("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = 'words'");
    let planted = Planted::cured_by(|bench| {
        bench["p"].query("ALTER DATABASE words REFRESH COLLATION VERSION");
    })
    .seen("built with", "1.0");
    found_and_cured(60, &mut bench, planted);
    Ok(())
}

/// One machine has one minor version of a major one, so the facts are altered here.
fn a_standby_is_a_minor_version_behind() -> Outcome {
    let bench = Bench::pair(&Programs::any()?, &[]);
    bench.silent(61);
    let mut herd = bench.facts();
    herd.servers[1].identity.version = ServerVersion(herd.servers[0].identity.version.0 - 1);
    let rules = RULES.iter().copied().filter(|rule| rule.id.0 == 61);
    let report = examine(&herd, rules);
    assert_eq!(report.findings.len(), 1);
    Ok(())
}

fn a_clock_is_an_hour_ahead() -> Outcome {
    let bench = Bench::pair(&Programs::any()?, &[]);
    bench.silent(62);
    replace_function(
        &bench["p"],
        "clock_timestamp()",
        "timestamptz",
        "SELECT now() + CASE WHEN pg_is_in_recovery() THEN interval '1 hour' ELSE '0' END",
    );
    let found = bench.found(62);
    assert!(found[0].headline.contains("ahead"), "{found:?}");
    assert!(matches!(
        found[0].value("difference"),
        Some(Value::Span(apart)) if *apart > Duration::from_secs(3_500)
    ));
    Ok(())
}

fn a_server_writes_minimal_wal() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .setting("wal_level", "minimal")
        .setting("max_wal_senders", 0)
        .start();
    let planted = Planted::cured_by_its_fix().seen("wal_level", "minimal");
    found_and_cured(64, &mut Bench::of("p", server), planted);
    Ok(())
}
