//! What is quoted here means the same to a real server.

use std::fs;

use manada_postgres::quote::{access_token, identifier, literal};
use manada_postgres::replace_file::FileOwner;
use manada_postgres::settings::{
    AccessBlock, AccessMethod, AccessRule, ConnectionType, Database, IdentityBlock,
    ManagedSettings, Origin, Roles, Setting, with_block,
};
use manada_testbed::{Outcome, Programs, TestServer, trials};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

trials![
    identifiers_and_literals_mean_what_they_quote,
    setting_values_mean_what_they_quote,
    access_rules_name_whom_they_quote,
];

/// The texts that go wrong most often, then random ones. The seed makes a failure repeat.
fn hostile_texts() -> Vec<String> {
    const SEED: u64 = 0x6d61_6e61_6461;
    const RANDOM: usize = 200;
    let known = [
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        "%p",
        "$$",
        "$1",
        ";",
        "--",
        "#",
        " ",
        "a b",
        "all",
        "replication",
        "sameuser",
        "+group",
        "@file",
        "ñandú",
        "名前",
        "a\tb",
        "'; DROP TABLE t; --",
        "host all all all trust",
        "*",
        ",",
        "=",
        "a=b",
        "'a",
        "a'",
        "\\n",
        "\u{7f}",
        "{a,b}",
    ];
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(SEED),
        ..Config::default()
    });
    let random = (0..RANDOM).map(|_| {
        let strategy = "[^\0]{1,15}";
        let tree = strategy.new_tree(&mut runner).expect("a text");
        tree.current()
    });
    known.map(str::to_owned).into_iter().chain(random).collect()
}

fn identifiers_and_literals_mean_what_they_quote(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
    let session = server.session();
    for text in hostile_texts() {
        let literal = literal(&text).expect("no NUL in it");
        for conforming in ["on", "off"] {
            session.query(&format!("SET standard_conforming_strings = {conforming}"));
            assert_eq!(
                session.value(&format!("SELECT {literal}")),
                text,
                "{conforming}"
            );
        }
        let name = identifier(&text).expect("short");
        let column =
            format!("WITH t AS (SELECT 1 AS {name}) SELECT key FROM t, json_each(row_to_json(t))");
        assert_eq!(session.value(&column), text);
    }
    Ok(())
}

fn setting_values_mean_what_they_quote(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
    let texts = hostile_texts();
    let mut settings = ManagedSettings::new();
    for (number, text) in texts.iter().enumerate() {
        // The reason is a comment, and must not end it either.
        settings.set(Setting::new(format!("manada_test.s{number}"), text, text));
    }
    let config = server.data().join("postgresql.conf");
    let owner = FileOwner::like(&config).expect("there");
    settings
        .write(&server.data().join("manada.conf"), owner)
        .expect("written");
    let included = fs::read_to_string(&config).expect("there") + "include 'manada.conf'\n";
    fs::write(&config, included).expect("written");
    let session = server.session();
    let count = "SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%manada.conf' AND error IS NULL";
    assert_eq!(session.value(count), texts.len().to_string());
    for (number, text) in texts.iter().enumerate() {
        let value =
            format!("SELECT setting FROM pg_file_settings WHERE name = 'manada_test.s{number}'");
        assert_eq!(session.value(&value), *text);
    }
    Ok(())
}

fn access_rules_name_whom_they_quote(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
    let writable: Vec<String> = hostile_texts()
        .into_iter()
        .filter(|text| access_token(text).is_ok())
        .collect();
    let rules = writable.iter().map(|text| AccessRule {
        reason: text.clone(),
        connection: ConnectionType::Tcp(Origin::Host("10.0.0.1".parse().expect("an address"))),
        database: Database::Named(text.clone()),
        roles: Roles::Named(vec![text.clone(), "other".to_owned()]),
        method: AccessMethod::Scram,
    });
    let block = AccessBlock {
        rules: rules.collect(),
    };
    let hba = server.data().join("pg_hba.conf");
    let text = fs::read_to_string(&hba).expect("there");
    let block = block.render().expect("quotable");
    fs::write(&hba, with_block(&text, &block).expect("whole")).expect("written");
    let ident = IdentityBlock {
        map: "it's a \"map\"".to_owned(),
        system_users: writable.clone(),
        role: "postgres".to_owned(),
    };
    let ident = ident.render().expect("quotable");
    fs::write(server.data().join("pg_ident.conf"), ident).expect("written");

    let session = server.session();
    let errors = "SELECT coalesce(string_agg(error, '; '), 'none') FROM pg_hba_file_rules";
    assert_eq!(session.value(errors), "none");
    let ours = session.query(
        "SELECT database[1], user_name[1], user_name[2], cardinality(user_name) \
         FROM pg_hba_file_rules WHERE address = '10.0.0.1' ORDER BY line_number",
    );
    assert_eq!(ours.len(), writable.len());
    for (row, text) in ours.iter().zip(&writable) {
        let shown: Vec<Option<&str>> = (0..4).map(|column| row[column].as_deref()).collect();
        assert_eq!(
            shown,
            [Some(text.as_str()), Some(text), Some("other"), Some("2")]
        );
    }
    let errors = "SELECT coalesce(string_agg(error, '; '), 'none') FROM pg_ident_file_mappings";
    assert_eq!(session.value(errors), "none");
    let users = session.query("SELECT sys_name FROM pg_ident_file_mappings ORDER BY line_number");
    let users: Vec<Option<&str>> = users.iter().map(|row| row[0].as_deref()).collect();
    let expected: Vec<Option<&str>> = writable.iter().map(|text| Some(text.as_str())).collect();
    assert_eq!(users, expected);
    Ok(())
}
