//! `manada doctor`, as it is typed, on the herd that the classroom practice makes.

use std::process::{Command, Output};

use manada_testbed::{Outcome, Programs, TestServer, trials};
use serde_json::Value;

trials![
    the_mistakes_of_the_practice_are_found,
    findings_are_printed_with_what_was_seen_why_it_hurts_and_what_to_type,
    rules_are_chosen_and_the_exit_code_follows,
    a_rule_is_explained_and_all_are_listed,
    without_rights_it_says_what_was_not_checked,
    a_dead_server_is_said_to_be_one,
];

/// A primary and its standby, made as the practice says, mistakes and all.
struct Practice {
    primary: TestServer,
    standby: TestServer,
}

impl Practice {
    fn begin(programs: &Programs) -> Practice {
        let primary = TestServer::with(programs)
            .setting("wal_level", "hot_standby")
            .setting("archive_mode", "on")
            .setting("archive_command", "cp %p %/tmp/%f")
            .access_rule("host replication all 127.0.0.1/32 md5")
            .start();
        primary.query("CREATE USER replicator WITH REPLICATION PASSWORD 'secret'");
        let conninfo = format!(
            "host=127.0.0.1 port={} user=replicator password=secret application_name=standby_server",
            primary.port()
        );
        let standby = TestServer::with(programs)
            .setting("primary_conninfo", conninfo)
            .setting("primary_slot_name", "")
            .start_standby_of(&primary, "standby_server");
        primary.query("SELECT pg_drop_replication_slot('standby_server')");
        primary.wait_for(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
            "1",
        );
        primary.set("synchronous_standby_names", "FIRST 1 (standby_server)");
        primary.wait_for(
            "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'standby_server'",
            "sync",
        );
        Practice { primary, standby }
    }

    fn hosts(&self) -> String {
        format!(
            "127.0.0.1:{},127.0.0.1:{}",
            self.primary.port(),
            self.standby.port()
        )
    }

    fn uri(&self) -> String {
        format!(
            "postgresql://postgres:{}@{}/postgres",
            self.primary.password(),
            self.hosts()
        )
    }

    /// Ports and directories differ from run to run.
    fn filters(&self) -> Vec<(String, &'static str)> {
        let word = |text: &str| regex_escape(text);
        vec![
            (
                word(&self.primary.directory().display().to_string()),
                "PRIMARY",
            ),
            (
                word(&self.standby.directory().display().to_string()),
                "STANDBY",
            ),
            (format!(r"\b{}\b", self.primary.port()), "5001"),
            (format!(r"\b{}\b", self.standby.port()), "5002"),
            (r"line \d+".to_owned(), "line N"),
        ]
    }
}

fn regex_escape(text: &str) -> String {
    let special = |c: char| !c.is_ascii_alphanumeric() && c != '/';
    text.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// A machine that is busy with other tests answers late.
const TIMEOUT: [&str; 2] = ["--timeout", "30"];

fn doctor(arguments: &[&str]) -> Output {
    manada_doctor(&[arguments, &TIMEOUT].concat())
}

fn manada_doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_manada"))
        .arg("doctor")
        .args(arguments)
        .env_remove("MANADA_HOME")
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn json(arguments: &[&str]) -> Value {
    let output = doctor(&[arguments, &["--format", "json"]].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn found(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().expect("a list");
    findings
        .iter()
        .filter_map(|finding| finding["rule"].as_str())
        .collect()
}

fn the_mistakes_of_the_practice_are_found() -> Outcome {
    let practice = Practice::begin(&Programs::any()?);
    let document = json(&["--uri", &practice.uri()]);
    assert_eq!(document["format"], "manada.doctor/1");
    let found = found(&document);
    for (rule, mistake) in [
        ("MND003", "FIRST 1 with one standby"),
        ("MND014", "no slot"),
        ("MND021", "cp, and %/"),
        ("MND035", "wal_level = hot_standby"),
        ("MND038", "md5"),
        ("MND041", "a password in primary_conninfo"),
    ] {
        assert!(
            found.contains(&rule),
            "{mistake} ({rule}) is not in {found:?}"
        );
    }
    assert_eq!(document["servers"].as_array().map(Vec::len), Some(2));
    assert!(!document.to_string().contains("secret"), "{document}");
    Ok(())
}

fn findings_are_printed_with_what_was_seen_why_it_hurts_and_what_to_type() -> Outcome {
    let practice = Practice::begin(&Programs::any()?);
    let output = doctor(&["--uri", &practice.uri(), "--only", "MND003,MND014,MND021"]);
    let mut settings = insta::Settings::clone_current();
    for (pattern, name) in practice.filters() {
        settings.add_filter(&pattern, name);
    }
    settings.bind(|| insta::assert_snapshot!(text(&output)));
    Ok(())
}

fn rules_are_chosen_and_the_exit_code_follows() -> Outcome {
    let practice = Practice::begin(&Programs::any()?);
    let uri = practice.uri();
    let code = |arguments: &[&str]| {
        let given = ["--uri", uri.as_str()];
        doctor(&[&given, arguments].concat()).status.code()
    };
    assert_eq!(code(&[]), Some(1));
    assert_eq!(code(&["--only", "no-archive"]), Some(0));
    assert_eq!(code(&["--only", "mnd35"]), Some(0), "a note");
    assert_eq!(code(&["--only", "MND035", "--fail-on", "note"]), Some(1));
    assert_eq!(
        code(&["--only", "MND021", "--fail-on", "critical"]),
        Some(0)
    );
    assert_eq!(code(&["--fail-on", "never"]), Some(0));
    assert_eq!(code(&["--only", "MND021", "--ignore", "MND021"]), Some(0));
    assert_eq!(code(&["--only", "MND999"]), Some(2));
    Ok(())
}

fn a_rule_is_explained_and_all_are_listed() -> Outcome {
    let page = manada_doctor(&["explain", "fsync-off"]);
    assert_eq!(page.status.code(), Some(0));
    insta::assert_snapshot!(text(&page));
    let list = text(&manada_doctor(&["list"]));
    assert_eq!(list.matches("MND").count(), 64);
    for line in list.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    Ok(())
}

fn without_rights_it_says_what_was_not_checked() -> Outcome {
    let practice = Practice::begin(&Programs::any()?);
    practice
        .primary
        .query("CREATE ROLE watcher LOGIN PASSWORD 'watcher' IN ROLE pg_monitor");
    let there = "SELECT count(*) FROM pg_roles WHERE rolname = 'watcher'";
    practice.standby.wait_for(there, "1");
    let uri = format!("postgresql://watcher:watcher@{}/postgres", practice.hosts());
    let output = doctor(&["--uri", &uri, "--only", "MND031,MND038,MND043"]);
    assert_eq!(output.status.code(), Some(0));
    let mut settings = insta::Settings::clone_current();
    for (pattern, name) in practice.filters() {
        settings.add_filter(&pattern, name);
    }
    settings.bind(|| insta::assert_snapshot!(text(&output)));
    Ok(())
}

fn a_dead_server_is_said_to_be_one() -> Outcome {
    let practice = Practice::begin(&Programs::any()?);
    practice.standby.stop();
    let document = json(&["--uri", &practice.uri()]);
    assert!(
        found(&document).contains(&"MND063"),
        "{:?}",
        found(&document)
    );
    assert!(
        found(&document).contains(&"MND001"),
        "{:?}",
        found(&document)
    );
    practice.primary.stop();
    let output = doctor(&["--uri", &practice.uri()]);
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}
