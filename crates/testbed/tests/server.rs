//! Servers under test are real, apart from each other, and gone afterwards.

use std::time::Duration;

use manada_testbed::{Outcome, Programs, TestServer, trials};

trials![
    a_server_answers_as_the_version_it_was_asked_for,
    a_standby_follows_its_primary,
    settings_access_rules_and_password_are_in_force,
    tls_is_offered_with_a_certificate_of_the_throw_away_ca,
    a_server_without_checksums_has_none,
    a_unique_server_shares_its_system_identifier_with_none,
    a_crashed_server_recovers_what_was_committed,
    a_paused_server_is_silent_until_it_is_resumed,
    a_dropped_server_leaves_nothing,
    a_failing_test_leaves_nothing,
    many_servers_start_at_once,
];

fn a_server_answers_as_the_version_it_was_asked_for(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
    let number: u32 = server
        .value("SHOW server_version_num")
        .parse()
        .expect("a number");
    assert_eq!(number / 10_000, programs.version().number());
    assert_eq!(server.value("SHOW data_checksums"), "on");
    Ok(())
}

fn a_standby_follows_its_primary(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    let standby = TestServer::with(&programs).start_standby_of(&primary, "s1");
    primary.query("CREATE TABLE seen (number int); INSERT INTO seen VALUES (42)");
    primary.wait_for(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = 's1' \
         AND state = 'streaming' AND replay_lsn = pg_current_wal_flush_lsn()",
        "1",
    );
    assert_eq!(standby.value("SELECT number FROM seen"), "42");
    assert_eq!(standby.value("SELECT pg_is_in_recovery()"), "t");
    let refused = standby.try_query("INSERT INTO seen VALUES (43)");
    assert!(refused.is_err(), "a standby took a write");
    Ok(())
}

fn settings_access_rules_and_password_are_in_force() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .setting("cluster_name", "it's here")
        .access_rule("host all nobody 10.1.2.3/32 reject")
        .password("con'traseña")
        .start();
    assert_eq!(server.value("SHOW cluster_name"), "it's here");
    assert_eq!(
        server.value("SELECT auth_method FROM pg_hba_file_rules WHERE address = '10.1.2.3'"),
        "reject"
    );
    server.set("work_mem", "5MB");
    server.wait_for("SHOW work_mem", "5MB");
    let mut wrong = server.config();
    wrong.password("testbed");
    assert!(manada_testbed::Session::connect(&wrong).is_err());
    Ok(())
}

fn tls_is_offered_with_a_certificate_of_the_throw_away_ca() -> Outcome {
    let server = TestServer::with(&Programs::any()?).tls().start();
    assert_eq!(server.value("SHOW ssl"), "on");
    let ca = std::fs::read_to_string(server.ca_certificate()).expect("the CA's certificate");
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
    Ok(())
}

fn a_server_without_checksums_has_none(programs: Programs) -> Outcome {
    let server = TestServer::with(&programs).without_checksums().start();
    assert_eq!(server.value("SHOW data_checksums"), "off");
    Ok(())
}

fn a_unique_server_shares_its_system_identifier_with_none() -> Outcome {
    let programs = Programs::any()?;
    let identify = "SELECT system_identifier FROM pg_control_system()";
    let [one, other] = [(); 2].map(|()| TestServer::with(&programs).unique().start());
    assert_ne!(one.value(identify), other.value(identify));
    Ok(())
}

fn a_crashed_server_recovers_what_was_committed() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    server.query("CREATE TABLE kept AS SELECT 1 AS number");
    let postmaster = server.pid().expect("it runs");
    let shared = shared_memory(postmaster);
    assert!(!shared.is_empty());
    server.crash();
    assert!(!server.is_running());
    let left = |file: &String| std::path::Path::new(file).exists();
    assert!(!shared.iter().any(left), "{shared:?}");
    server.start_again();
    assert_eq!(server.value("SELECT number FROM kept"), "1");
    Ok(())
}

fn a_paused_server_is_silent_until_it_is_resumed() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let session = server.session();
    server.pause();
    let answer = session.start("SELECT 1");
    assert!(answer.within(Duration::from_millis(200)).is_none());
    server.resume();
    let rows = answer.within(manada_testbed::PATIENCE).expect("an answer");
    assert_eq!(rows.expect("no error"), [[Some("1".to_owned())]]);
    Ok(())
}

fn a_dropped_server_leaves_nothing() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let (directory, pid) = traces(&server);
    drop(server);
    assert_gone(&directory, pid);
    Ok(())
}

fn a_failing_test_leaves_nothing() -> Outcome {
    let programs = Programs::any()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let server = TestServer::start(&programs);
        sender.send(traces(&server)).expect("the other end waits");
        panic!("on purpose");
    });
    assert!(test.join().is_err());
    let (directory, pid) = receiver.recv().expect("sent before the panic");
    assert_gone(&directory, pid);
    Ok(())
}

fn many_servers_start_at_once() -> Outcome {
    let programs = Programs::any()?;
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let programs = programs.clone();
            std::thread::spawn(move || TestServer::start(&programs))
        })
        .collect();
    for server in starting {
        let server = server.join().expect("every one starts");
        assert_eq!(server.value("SHOW port"), server.port().to_string());
    }
    Ok(())
}

/// The files in memory that the process shares with others.
fn shared_memory(pid: u32) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let paths = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5));
    let files = paths.filter(|path| path.starts_with("/dev/shm/PostgreSQL."));
    files.map(str::to_owned).collect()
}

fn traces(server: &TestServer) -> (std::path::PathBuf, u32) {
    let pid = server.pid().expect("it runs");
    (server.directory().to_owned(), pid)
}

fn assert_gone(directory: &std::path::Path, pid: u32) {
    assert!(!directory.exists(), "{} is left", directory.display());
    let process = format!("/proc/{pid}");
    assert!(!std::path::Path::new(&process).exists(), "{pid} is left");
}
