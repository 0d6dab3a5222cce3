//! `diagram` and `uri`, as they are typed, with real servers.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use manada_testbed::{
    Missing, Outcome, Programs, Scratch, TestServer, free_port, trials, wait_for,
};
use serde_json::Value;

trials![
    psql_finds_the_primary_and_a_standby_by_the_uri,
    the_uri_has_no_password_and_keeps_what_tls_must_prove,
    a_herd_is_drawn_in_every_form,
    a_standby_that_is_down_is_drawn_as_such,
    no_server_at_all_is_exit_code_3_and_no_picture,
    every_key_of_the_json_is_described,
];

/// A primary and the standby `beto`.
struct Pair {
    primary: TestServer,
    standby: TestServer,
}

impl Pair {
    fn start(programs: &Programs) -> Pair {
        let primary = TestServer::with(programs)
            .setting("cluster_name", "ana")
            .start();
        let standby = TestServer::with(programs)
            .setting("cluster_name", "beto")
            .start_standby_of(&primary, "beto");
        primary.wait_for("SELECT state FROM pg_stat_replication", "streaming");
        Pair { primary, standby }
    }

    /// Both servers in one URI, the standby first.
    fn uri(&self) -> String {
        format!(
            "postgresql://postgres:{}@{}:{},{}:{}/postgres",
            self.primary.password(),
            self.standby.address(),
            self.standby.port(),
            self.primary.address(),
            self.primary.port()
        )
    }
}

fn manada(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_manada"))
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("manada runs")
}

/// What it printed, where it ended well.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = manada(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn psql_finds_the_primary_and_a_standby_by_the_uri() -> Outcome {
    let programs = Programs::any()?;
    let psql = programs.program("psql");
    if !psql.exists() {
        return Err(Missing::new(format!("no {}", psql.display())));
    }
    let pair = Pair::start(&programs);
    let asked = |read: &[&str]| {
        let given = pair.uri();
        let uri = printed(&[&["uri", "-d", &given], read].concat());
        let mut psql = Command::new(&psql);
        psql.args([uri.trim(), "-XAtc", "SELECT pg_is_in_recovery()"]);
        psql.env("PGPASSWORD", pair.primary.password());
        let output = psql.output().expect("psql runs");
        assert!(output.status.success(), "{uri}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(asked(&[]), "f\n");
    assert_eq!(asked(&["--read"]), "t\n");
    Ok(())
}

fn the_uri_has_no_password_and_keeps_what_tls_must_prove() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .password("s:e/c r?t")
        .tls()
        .start();
    let authority = server.ca_certificate();
    let given = format!(
        "host={} port={} user=postgres password='s:e/c r?t' dbname=postgres sslmode=verify-ca sslrootcert='{}'",
        server.address(),
        server.port(),
        authority.display()
    );
    let uri = printed(&["uri", "-d", &given, "--user", "o'neil", "--dbname", "a b"]);
    let start = format!(
        "postgresql://o%27neil@{}:{}/a%20b?",
        server.address(),
        server.port()
    );
    assert!(uri.starts_with(&start), "{uri}");
    assert!(uri.contains("&sslmode=verify-ca&sslrootcert=%2F"), "{uri}");
    assert!(!uri.contains("s%3Ae") && !uri.contains("s:e"), "{uri}");
    Ok(())
}

fn a_herd_is_drawn_in_every_form() -> Outcome {
    let pair = Pair::start(&Programs::any()?);
    let scratch = Scratch::new();
    let uri = pair.uri();

    wait_for("the standby to be drawn as caught up", true, || {
        printed(&["diagram", "-d", &uri]).contains("caught up")
    });
    let drawing = printed(&["diagram", "-d", &uri]);
    for part in [
        "┌─ ana ",
        "┌─ beto ",
        "│ async ",
        "Commits wait for no standby.",
    ] {
        assert!(drawing.contains(part), "{part:?} in\n{drawing}");
    }

    let json = printed(&["diagram", "-d", &uri, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["format"], "manada.diagram/1");
    assert!(
        json["svg"]
            .as_str()
            .is_some_and(|svg| svg.starts_with("<svg "))
    );

    for (name, begins_with) in [
        ("herd.svg", &b"<svg "[..]),
        ("herd.PNG", b"\x89PNG"),
        ("herd.mmd", b"---\ntitle: "),
    ] {
        let path = scratch.path().join(name);
        printed(&["diagram", "-d", &uri, "-o", path.to_str().expect("UTF-8")]);
        let bytes = fs::read(&path).expect("a picture");
        assert!(bytes.starts_with(begins_with), "{name}");
    }
    let left_over = fs::read_dir(scratch.path()).expect("a directory").count();
    assert_eq!(left_over, 3, "three pictures and nothing beside them");
    Ok(())
}

fn a_standby_that_is_down_is_drawn_as_such() -> Outcome {
    let pair = Pair::start(&Programs::any()?);
    pair.standby.stop();
    let drawing = printed(&["diagram", "-d", &pair.uri()]);
    assert!(drawing.contains("not streaming"), "{drawing}");
    assert!(drawing.contains("does not answer: Connection"), "{drawing}");
    Ok(())
}

fn no_server_at_all_is_exit_code_3_and_no_picture() -> Outcome {
    let scratch = Scratch::new();
    let picture = scratch.path().join("herd.svg");
    let uri = format!("postgresql://postgres@127.0.0.1:{}/postgres", free_port());
    let output = manada(&[
        "diagram",
        "-d",
        &uri,
        "-o",
        picture.to_str().expect("UTF-8"),
    ]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!picture.exists());
    Ok(())
}

fn every_key_of_the_json_is_described() -> Outcome {
    let described = include_str!("../../../docs/json.md");
    let pair = Pair::start(&Programs::any()?);
    let uri = pair.uri();
    let nobody = format!("postgresql://postgres@127.0.0.1:{}/postgres", free_port());
    let mut keys = BTreeSet::new();
    for arguments in [
        &["status", "-d", &uri][..],
        &["status", "-d", &nobody],
        &["verify", "-d", &uri, "--digest"],
        &["doctor", "-d", &uri],
        &["sync", "first", "1", "-d", &uri],
        &["diagram", "-d", &uri],
        &["uri", "-d", &uri],
        &["uri", "-d", &nobody],
    ] {
        let output = manada(&[arguments, &["--format", "json"]].concat());
        for text in [output.stdout, output.stderr] {
            if text.is_empty() {
                continue;
            }
            let json: Value = serde_json::from_slice(&text)
                .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            let format = json["format"].as_str().expect("a format");
            assert!(described.contains(&format!("`{format}`")), "{format}");
            collect_keys(&json, &mut keys);
        }
    }
    let missing: Vec<_> = keys
        .into_iter()
        .filter(|key| !described.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
    Ok(())
}

fn collect_keys(json: &Value, keys: &mut BTreeSet<String>) {
    match json {
        Value::Object(members) => {
            for (key, value) in members {
                keys.insert(key.clone());
                collect_keys(value, keys);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
