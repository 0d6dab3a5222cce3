//! Mistakes that can be made and unmade in a running herd.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use manada_doctor::Value;
use manada_testbed::TestServer;

use crate::bench::{Bench, archive_command, conninfo};
use crate::planted::Planted;

/// A rule's number, and how its mistake is made.
type Plant = (u16, fn(&mut Bench) -> Planted);

/// All mistakes that are made in the shared herd.
pub(crate) const PLANTS: &[Plant] = &[
    (1, nobody_has_the_name),
    (2, one_name_of_three_is_not_there),
    (3, as_many_are_asked_for_as_there_are),
    (4, anybody_counts),
    (5, commits_do_not_wait),
    (6, commits_of_a_role_do_not_wait),
    (7, a_standby_answers_before_its_disk),
    (8, two_standbys_have_one_name),
    (9, a_synchronous_standby_delays),
    (10, a_query_may_hold_up_commits),
    (11, slots_have_no_bound),
    (13, a_slot_is_left_over),
    (14, a_standby_has_no_slot),
    (15, a_slot_is_not_there),
    (18, a_stopped_standby_holds_back_vacuum),
    (19, a_logical_slot_is_on_the_primary_alone),
    (20, archiving_fails),
    (21, archiving_copies_and_hopes),
    (22, archiving_has_no_command),
    (23, segments_wait_to_be_archived),
    (25, the_disk_is_not_waited_for),
    (26, pages_may_be_torn),
    (28, a_table_is_unlogged),
    (31, alter_system_overrides_the_managed_file),
    (32, a_setting_waits_for_a_restart),
    (33, a_line_of_the_settings_is_wrong),
    (34, a_line_of_the_access_rules_is_wrong),
    (35, wal_level_has_its_old_name),
    (36, nothing_is_vacuumed),
    (37, a_network_is_trusted),
    (38, md5_is_taken),
    (39, replication_is_open_to_all_addresses),
    (41, a_password_is_in_the_settings),
    (42, new_passwords_become_md5),
    (43, a_password_is_md5),
    (44, a_standby_is_superuser),
    (47, a_standby_asks_a_closed_port),
    (48, a_standby_has_nobody_to_follow),
    (49, replay_is_paused),
    (51, walsenders_never_time_out),
    (52, a_walreceiver_never_times_out),
    (53, a_transaction_was_prepared_and_left),
    (54, a_transaction_stays_open),
    (63, a_host_does_not_answer),
];

/// The policy of the sound herd.
const SOUND_POLICY: &str = "ANY 1 (s1, s2)";

/// Another policy, until the finding's fix or the test's end.
fn policy(bench: &Bench, policy: &str) {
    bench["p"].set("synchronous_standby_names", policy);
}

/// Applies the finding's own fix, then restores the sound policy.
fn fixed_then_sound(number: u16) -> Planted {
    Planted::cured_by(move |bench| {
        for finding in bench.found(number) {
            bench.apply(&finding.fix);
        }
        bench.silent(number);
        policy(bench, SOUND_POLICY);
    })
}

/// Resets a setting of a server and has it read again.
fn reset(server: &TestServer, name: &str) {
    server.query(&format!("ALTER SYSTEM RESET {name}"));
    server.query("SELECT pg_reload_conf()");
}

fn nobody_has_the_name(bench: &mut Bench) -> Planted {
    policy(bench, "FIRST 1 (standby_server)");
    fixed_then_sound(1)
        .seen("synchronous_standby_names", "FIRST 1 (standby_server)")
        .seen("streaming and named", 0_u32)
}

fn one_name_of_three_is_not_there(bench: &mut Bench) -> Planted {
    policy(bench, "ANY 1 (s1, s2, s3)");
    fixed_then_sound(2).seen("not connected", vec!["s3".to_owned()])
}

fn as_many_are_asked_for_as_there_are(bench: &mut Bench) -> Planted {
    policy(bench, "FIRST 1 (s1)");
    fixed_then_sound(3).seen("streaming and named", vec!["s1".to_owned()])
}

fn anybody_counts(bench: &mut Bench) -> Planted {
    policy(bench, "*");
    fixed_then_sound(4).seen("synchronous_standby_names", "*")
}

fn commits_do_not_wait(bench: &mut Bench) -> Planted {
    bench["p"].set("synchronous_commit", "local");
    Planted::cured_by_its_fix().seen("synchronous_commit", "local")
}

fn commits_of_a_role_do_not_wait(bench: &mut Bench) -> Planted {
    bench["p"].query("CREATE ROLE \"hasty role\"");
    bench["p"].query("ALTER ROLE \"hasty role\" SET synchronous_commit = off");
    Planted::cured_by(|bench| {
        for finding in bench.found(6) {
            bench.apply(&finding.fix);
        }
        bench.silent(6);
        bench["p"].query("DROP ROLE \"hasty role\"");
    })
    .seen("role", "hasty role")
    .seen("synchronous_commit", "off")
}

fn a_standby_answers_before_its_disk(bench: &mut Bench) -> Planted {
    bench["p"].set("synchronous_commit", "remote_write");
    Planted::cured_by_its_fix().seen("synchronous_commit", "remote_write")
}

fn two_standbys_have_one_name(bench: &mut Bench) -> Planted {
    bench["s2"].set("primary_conninfo", &conninfo(&bench["p"], "s1"));
    Planted::cured_by(|bench| reset(&bench["s2"], "primary_conninfo"))
        .seen("application_name", "s1")
}

fn a_synchronous_standby_delays(bench: &mut Bench) -> Planted {
    bench["s1"].set("recovery_min_apply_delay", "1h");
    Planted::cured_by_its_fix().seen("recovery_min_apply_delay", Duration::from_secs(3600))
}

fn a_query_may_hold_up_commits(bench: &mut Bench) -> Planted {
    bench["s1"].set("max_standby_streaming_delay", "-1");
    bench["p"].set("synchronous_commit", "remote_apply");
    Planted::cured_by(|bench| {
        for finding in bench.found(10) {
            bench.apply(&finding.fix);
        }
        bench.silent(10);
        reset(&bench["s1"], "max_standby_streaming_delay");
        reset(&bench["p"], "synchronous_commit");
    })
    .seen("synchronous_commit", "remote_apply")
}

fn slots_have_no_bound(bench: &mut Bench) -> Planted {
    bench["p"].set("max_slot_wal_keep_size", "-1");
    Planted::cured_by_its_fix().seen("slots", vec!["s1".to_owned(), "s2".to_owned()])
}

fn a_slot_is_left_over(bench: &mut Bench) -> Planted {
    bench["p"].query("SELECT pg_create_physical_replication_slot('left_over', true)");
    Planted::cured_by_its_fix()
}

fn a_standby_has_no_slot(bench: &mut Bench) -> Planted {
    bench["s2"].set("primary_slot_name", "");
    Planted::cured_by(|bench| {
        for finding in bench.found(14) {
            bench.apply(&finding.fix);
        }
        bench.silent(14);
        reset(&bench["s2"], "primary_slot_name");
    })
    .seen("application_name", "s2")
    .seen("slot_name", Value::Absent)
}

fn a_slot_is_not_there(bench: &mut Bench) -> Planted {
    bench["s2"].set("primary_slot_name", "gone");
    Planted::cured_by(|bench| {
        for finding in bench.found(15) {
            bench.apply(&finding.fix);
        }
        bench.silent(15);
        bench["p"].wait_for(
            "SELECT active FROM pg_replication_slots WHERE slot_name = 'gone'",
            "t",
        );
        reset(&bench["s2"], "primary_slot_name");
        bench["p"].wait_for(
            "SELECT active FROM pg_replication_slots WHERE slot_name = 'gone'",
            "f",
        );
        bench["p"].query("SELECT pg_drop_replication_slot('gone')");
    })
    .seen("primary_slot_name", "gone")
}

fn a_stopped_standby_holds_back_vacuum(bench: &mut Bench) -> Planted {
    bench["s2"].set("hot_standby_feedback", "on");
    bench["s2"].set("wal_receiver_status_interval", "1s");
    bench["p"].wait_for(
        "SELECT xmin IS NOT NULL FROM pg_replication_slots WHERE slot_name = 's2'",
        "t",
    );
    bench["s2"].stop();
    Planted::cured_by(|bench| {
        bench["s2"].start_again();
        reset(&bench["s2"], "hot_standby_feedback");
        reset(&bench["s2"], "wal_receiver_status_interval");
        bench["p"].wait_for(
            "SELECT active AND xmin IS NULL FROM pg_replication_slots WHERE slot_name = 's2'",
            "t",
        );
    })
    .seen("active", false)
}

fn a_logical_slot_is_on_the_primary_alone(bench: &mut Bench) -> Planted {
    bench["p"].query("SELECT pg_create_logical_replication_slot('feed', 'test_decoding')");
    Planted::cured_by(|bench| {
        bench["p"].query("SELECT pg_drop_replication_slot('feed')");
    })
    .seen("failover", false)
}

/// Lets archiving go on as in the sound herd.
fn archive_again(bench: &Bench) {
    let primary = &bench["p"];
    let archived = primary.value("SELECT archived_count FROM pg_stat_archiver");
    primary.set(
        "archive_command",
        &archive_command(&primary.directory().join("archive")),
    );
    primary.query("SELECT pg_logical_emit_message(true, 'doctor', 'x')");
    primary.query("SELECT pg_switch_wal()");
    primary.wait_for(
        &format!("SELECT archived_count > {archived} FROM pg_stat_archiver"),
        "t",
    );
}

fn switch_wal(bench: &Bench) {
    bench["p"].query("SELECT pg_logical_emit_message(true, 'doctor', 'x')");
    bench["p"].query("SELECT pg_switch_wal()");
}

fn archiving_fails(bench: &mut Bench) -> Planted {
    bench["p"].set("archive_command", "PASSWORD=hush false");
    switch_wal(bench);
    Planted::cured_by(|bench| archive_again(bench)).seen("archive_command", "PASSWORD=*** false")
}

fn archiving_copies_and_hopes(bench: &mut Bench) -> Planted {
    bench["p"].set("archive_command", "cp %p %/tmp/%f");
    Planted::cured_by(|bench| archive_again(bench)).seen("archive_command", "cp %p %/tmp/%f")
}

fn archiving_has_no_command(bench: &mut Bench) -> Planted {
    bench["p"].set("archive_command", "");
    Planted::cured_by(|bench| archive_again(bench)).seen("archive_mode", "on")
}

fn segments_wait_to_be_archived(bench: &mut Bench) -> Planted {
    bench["p"].set("archive_command", "");
    bench.limits.archive_queue_segments_max = 0;
    switch_wal(bench);
    Planted::cured_by(|bench| {
        archive_again(bench);
        bench["p"].wait_for(
            "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'",
            "0",
        );
        bench.silent(23);
        bench.limits = manada_doctor::facts::Limits::default();
    })
}

fn the_disk_is_not_waited_for(bench: &mut Bench) -> Planted {
    bench["p"].set("fsync", "off");
    Planted::cured_by_its_fix().seen("fsync", false)
}

fn pages_may_be_torn(bench: &mut Bench) -> Planted {
    bench["p"].set("full_page_writes", "off");
    Planted::cured_by_its_fix().seen("full_page_writes", false)
}

fn a_table_is_unlogged(bench: &mut Bench) -> Planted {
    bench["p"].query("CREATE UNLOGGED TABLE \"Fast; table\" (number int)");
    Planted::cured_by(|bench| {
        for finding in bench.found(28) {
            bench.apply(&finding.fix);
        }
        bench.silent(28);
        bench["p"].query("DROP TABLE \"Fast; table\"");
    })
    .seen("the largest", vec!["public.\"Fast; table\"".to_owned()])
}

fn alter_system_overrides_the_managed_file(bench: &mut Bench) -> Planted {
    bench["p"].set("work_mem", "7MB");
    Planted::cured_by_its_fix().seen("manada.conf", "5MB")
}

fn a_setting_waits_for_a_restart(bench: &mut Bench) -> Planted {
    bench["p"].set("max_connections", "120");
    Planted::cured_by(|bench| reset(&bench["p"], "max_connections"))
        .seen("max_connections in force", "100")
}

/// Adds a line to a file of the primary, until the text is put back.
fn with_line(file: PathBuf, line: &str) -> impl FnOnce(&mut Bench) + 'static {
    let before = fs::read_to_string(&file).expect("the file can be read");
    fs::write(&file, format!("{before}{line}\n")).expect("the file is ours");
    move |_| fs::write(&file, before).expect("the file is ours")
}

fn a_line_of_the_settings_is_wrong(bench: &mut Bench) -> Planted {
    let file = bench["p"].data().join("postgresql.conf");
    Planted::cured_by(with_line(file, "work_mem = 'lots'")).seen("value", "lots")
}

fn a_line_of_the_access_rules_is_wrong(bench: &mut Bench) -> Planted {
    let file = bench["p"].data().join("pg_hba.conf");
    Planted::cured_by(with_line(file, "host all all 10.0.0.300/32 scram-sha-256"))
}

fn wal_level_has_its_old_name(bench: &mut Bench) -> Planted {
    bench["p"].set("wal_level", "hot_standby");
    Planted::cured_by(|bench| {
        for finding in bench.found(35) {
            bench.apply(&finding.fix);
        }
        bench.silent(35);
        reset(&bench["p"], "wal_level");
    })
    .seen("wal_level in the file", "hot_standby")
}

fn nothing_is_vacuumed(bench: &mut Bench) -> Planted {
    bench["p"].set("autovacuum", "off");
    Planted::cured_by_its_fix().seen("autovacuum", false)
}

/// A line of `pg_hba.conf` that the finding's own fix replaces.
fn access_line(bench: &Bench, number: u16, line: &str) -> Planted {
    let put_back = with_line(bench["p"].data().join("pg_hba.conf"), line);
    Planted::cured_by(move |bench| {
        for finding in bench.found(number) {
            bench.apply(&finding.fix);
        }
        bench.silent(number);
        put_back(bench);
    })
}

fn a_network_is_trusted(bench: &mut Bench) -> Planted {
    access_line(bench, 37, "host replication all 192.0.2.0/24 trust")
}

fn md5_is_taken(bench: &mut Bench) -> Planted {
    access_line(bench, 38, "host replication all 192.0.2.7/32 md5")
}

fn replication_is_open_to_all_addresses(bench: &mut Bench) -> Planted {
    access_line(bench, 39, "host replication all 0.0.0.0/0 scram-sha-256")
}

fn a_password_is_in_the_settings(bench: &mut Bench) -> Planted {
    let before = conninfo(&bench["p"], "s2");
    // What libpq reads, a URI, and what nobody can read.
    for with_password in [
        format!(r"{before} password = 'it\'s \'hush\' hush' connect_timeout=3"),
        format!(r"password=hu\ sh'hush {before}"),
        "postgresql://replicator:hu@sh@127.0.0.1/?sslpassword=hush&user=x".to_owned(),
        format!("{before} password='it''s hush' hush"),
    ] {
        bench["s2"].set("primary_conninfo", &with_password);
        bench["s2"].wait_for(
            "SELECT setting ~ 'hush' FROM pg_settings WHERE name = 'primary_conninfo'",
            "t",
        );
        assert_eq!(bench.found(41).len(), 1, "{with_password}");
        for server in bench.facts().servers {
            let told = format!("{server:?}");
            assert!(!told.contains("hush"), "fetched of {with_password}");
            assert!(!told.contains("hu@"), "fetched of {with_password}");
        }
    }
    bench["s2"].set("primary_conninfo", &format!("{before} password=hush"));
    Planted::cured_by(|bench| reset(&bench["s2"], "primary_conninfo"))
        .seen("primary_conninfo", format!("{before} password=***"))
}

fn new_passwords_become_md5(bench: &mut Bench) -> Planted {
    bench["p"].set("password_encryption", "md5");
    Planted::cured_by_its_fix().seen("password_encryption", "md5")
}

fn a_password_is_md5(bench: &mut Bench) -> Planted {
    let hash = "md5".to_owned() + &"0123456789abcdef".repeat(2);
    bench["p"].query(&format!("CREATE ROLE veteran LOGIN PASSWORD '{hash}'"));
    Planted::cured_by(|bench| {
        bench["p"].query("DROP ROLE veteran");
    })
    .seen("roles", vec!["veteran".to_owned()])
}

fn a_standby_is_superuser(bench: &mut Bench) -> Planted {
    let primary = &bench["p"];
    let passfile = primary.directory().join("postgres.pass");
    let line = format!("*:*:*:postgres:{}\n", primary.password());
    crate::bench::write_for(primary, &passfile, &line);
    let conninfo = format!(
        "host=127.0.0.1 port={} user=postgres passfile='{}' application_name=s2",
        primary.port(),
        passfile.display()
    );
    bench["s2"].set("primary_conninfo", &conninfo);
    Planted::cured_by(|bench| reset(&bench["s2"], "primary_conninfo")).seen("usename", "postgres")
}

fn a_standby_asks_a_closed_port(bench: &mut Bench) -> Planted {
    let conninfo = format!(
        "host=127.0.0.1 port={} user=replicator",
        manada_testbed::free_port()
    );
    bench["s2"].set("primary_conninfo", &conninfo);
    Planted::cured_by(|bench| reset(&bench["s2"], "primary_conninfo"))
        .seen("primary_conninfo", conninfo)
}

fn a_standby_has_nobody_to_follow(bench: &mut Bench) -> Planted {
    bench["s2"].set("primary_conninfo", "");
    Planted::cured_by(|bench| reset(&bench["s2"], "primary_conninfo")).seen("primary_conninfo", "")
}

fn replay_is_paused(bench: &mut Bench) -> Planted {
    bench["s1"].query("SELECT pg_wal_replay_pause()");
    Planted::cured_by_its_fix()
}

fn walsenders_never_time_out(bench: &mut Bench) -> Planted {
    bench["p"].set("wal_sender_timeout", "0");
    Planted::cured_by_its_fix().seen("wal_sender_timeout", Duration::ZERO)
}

fn a_walreceiver_never_times_out(bench: &mut Bench) -> Planted {
    bench["s1"].set("wal_receiver_timeout", "0");
    Planted::cured_by_its_fix().seen("wal_receiver_timeout", Duration::ZERO)
}

fn a_transaction_was_prepared_and_left(bench: &mut Bench) -> Planted {
    bench.limits.prepared_age_max = Duration::ZERO;
    let session = bench["p"].session();
    session.query("BEGIN; CREATE TABLE half_done (); PREPARE TRANSACTION 'it''s \\ left'");
    Planted::cured_by(|bench| {
        for finding in bench.found(53) {
            bench.apply(&finding.fix);
        }
        bench.silent(53);
        bench.limits = manada_doctor::facts::Limits::default();
    })
    .seen("gid", "it's \\ left")
}

fn a_transaction_stays_open(bench: &mut Bench) -> Planted {
    bench.limits.transaction_age_max = Duration::ZERO;
    let session = bench["p"].session();
    session.query("BEGIN; SELECT txid_current()");
    Planted::cured_by(move |bench| {
        for finding in bench.found(54) {
            bench.apply(&finding.fix);
        }
        bench.silent(54);
        drop(session);
        bench.limits = manada_doctor::facts::Limits::default();
    })
    .seen("state", "idle in transaction")
}

fn a_host_does_not_answer(bench: &mut Bench) -> Planted {
    let port = manada_testbed::free_port();
    let uri = format!("postgresql://postgres@127.0.0.1:{port}/postgres");
    bench.strangers.push(("s3".to_owned(), uri));
    Planted::cured_by(|bench| bench.strangers.clear()).seen("server", "s3")
}
