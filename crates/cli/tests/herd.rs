//! `init`, `token`, `join`, `remove`, `stop` and `start`, as they are typed, with real servers.

mod typed;

use std::fs;
use std::path::PathBuf;

use manada_postgres::os_user::OsUser;
use manada_testbed::{Outcome, Programs, Scratch, free_port, trials, wait_for};

use typed::{Herd, json, manada, refused};

trials![
    a_standby_joins_and_follows,
    a_join_is_refused_with_its_reason_and_remedy,
    a_killed_join_is_taken_up_by_the_next,
    a_killed_init_is_taken_up_by_the_next,
    a_removed_standby_leaves_nothing_behind_and_writes_go_on,
    a_standby_leaves_by_itself_and_its_data_stays,
    a_node_is_stopped_and_started,
];

fn a_standby_joins_and_follows(programs: Programs) -> Outcome {
    let scratch = Scratch::new();
    let archive = scratch.path().join("archive of all");
    let user = OsUser::for_new_server().expect("somebody runs servers");
    user.create_private_directory(&archive).expect("made");
    let (herd, made) = Herd::init(&programs, &["--archive", archive.to_str().expect("UTF-8")]);
    assert_eq!(made["format"], "manada.init/1");
    herd.sql("n1", "CREATE TABLE seen AS SELECT 42 AS number");

    herd.sql("n1", "SELECT pg_switch_wal()");
    wait_for("an archived segment", "t".to_owned(), || {
        herd.sql(
            "n1",
            "SELECT archived_count > 0 AND failed_count = 0 FROM pg_stat_archiver",
        )
    });
    let joined = herd.joined("n2");
    assert_eq!(joined["notes"], serde_json::json!([]));
    wait_for("the row on the standby", "42".to_owned(), || {
        herd.try_sql("n2", "SELECT number FROM seen")
            .unwrap_or_default()
    });
    let refused = herd.try_sql("n2", "INSERT INTO seen VALUES (1)");
    assert!(refused.expect_err("a write").contains("read-only"));
    herd.joined("n3");
    assert_eq!(
        herd.sql("n1", "SELECT string_agg(application_name || state, ',' ORDER BY application_name) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl"),
        "n2streaming,n3streaming"
    );
    assert_eq!(
        herd.sql(
            "n1",
            "SELECT string_agg(slot_name || active, ',' ORDER BY slot_name) FROM pg_replication_slots"
        ),
        "manada_n2true,manada_n3true"
    );
    assert_eq!(
        herd.sql(
            "n3",
            "SELECT string_agg(name, ',' ORDER BY name) FROM manada.member"
        ),
        "n1,n2,n3"
    );
    for node in ["n1", "n2", "n3"] {
        for (what, query) in [
            (
                "settings",
                "SELECT string_agg(name || error, ';') FROM pg_file_settings WHERE error IS NOT NULL",
            ),
            (
                "rules",
                "SELECT string_agg(error, ';') FROM pg_hba_file_rules",
            ),
            (
                "restart",
                "SELECT string_agg(name, ';') FROM pg_settings WHERE pending_restart",
            ),
        ] {
            assert_eq!(herd.sql(node, query), "", "{node}: {what}");
        }
        let conninfo = herd.sql(node, "SELECT current_setting('primary_conninfo')");
        assert!(!conninfo.contains("password="), "{conninfo}");
    }
    Ok(())
}

fn a_join_is_refused_with_its_reason_and_remedy() -> Outcome {
    let programs = Programs::any()?;
    let (herd, _) = Herd::init(&programs, &[]);
    let port = free_port();
    let join = |node: &str, port: u16, more: &[&str]| {
        refused(&herd.join(node, port, more).output().expect("manada runs"))
    };

    let theirs = herd.scratch.path().join("theirs");
    fs::create_dir(&theirs).expect("made");
    fs::write(theirs.join("file"), "data").expect("written");
    let (code, error) = join("n2", port, &["--pgdata", theirs.to_str().expect("UTF-8")]);
    assert_eq!(code, 4, "{error}");
    assert!(
        error.contains("is not empty") && error.contains("mv "),
        "{error}"
    );
    assert!(theirs.join("file").exists());

    let (code, error) = join("n2", herd.primary_port, &[]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("is taken"), "{error}");

    let mut same_name = manada(&[
        "join",
        "--name",
        "n1",
        "--home",
        &herd.home("other"),
        "--port",
        &port.to_string(),
        "--pg",
        herd.bin(),
    ]);
    let (code, error) = refused(
        &same_name
            .env("MANADA_TOKEN", herd.token())
            .output()
            .expect("manada runs"),
    );
    assert_eq!(code, 4, "{error}");
    assert!(
        error.contains("node n1 already") && error.contains("manada remove n1"),
        "{error}"
    );

    let (code, error) = join(
        "n2",
        port,
        &["--address", "127.0.0.1\nhost all all all trust"],
    );
    assert_eq!(code, 2, "{error}");

    let token = herd.token();
    let mut cut = manada(&["join", &token[..token.len() - 3]]);
    let (code, error) = refused(&cut.output().expect("manada runs"));
    assert_eq!(code, 2, "{error}");
    assert!(
        error.contains("damaged") && !error.contains(&token[20..40]),
        "{error}"
    );

    // A newer token ends the former one.
    herd.token();
    let home = herd.home("n9");
    let mut late = manada(&["join", "--home", &home, "--name", "n9"]);
    let (code, error) = refused(
        &late
            .env("MANADA_TOKEN", token)
            .output()
            .expect("manada runs"),
    );
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("manada token"), "{error}");

    // None of this has left anything at the primary.
    assert_eq!(
        herd.sql("n1", "SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
    assert_eq!(herd.sql("n1", "SELECT count(*) FROM manada.member"), "1");
    Ok(())
}

fn a_killed_join_is_taken_up_by_the_next() -> Outcome {
    let programs = Programs::any()?;
    let (herd, _) = Herd::init(&programs, &[]);
    let port = free_port();
    let home = PathBuf::from(herd.home("n2"));
    // Killed as soon as each of these is there; the last is the moment before it is finished.
    for mark in [
        "tls/server.key",
        "tls/server.crt",
        "data/standby.signal",
        "data/postmaster.pid",
    ] {
        let mut child = herd.join("n2", port, &[]).spawn().expect("manada runs");
        wait_for(mark, true, || home.join(mark).exists());
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(!home.join("manada.toml").exists(), "too late: {mark}");
    }
    let joined = json(&herd.join("n2", port, &[]).output().expect("manada runs"));
    assert_eq!(joined["node"], "n2");
    assert_eq!(
        herd.sql(
            "n1",
            "SELECT string_agg(slot_name || active, ',') FROM pg_replication_slots"
        ),
        "manada_n2true"
    );
    Ok(())
}

fn a_removed_standby_leaves_nothing_behind_and_writes_go_on() -> Outcome {
    let programs = Programs::any()?;
    let (herd, _) = Herd::init(&programs, &[]);
    herd.joined("n2");
    herd.joined("n3");
    herd.sql("n1", "CREATE TABLE t (i int)");
    let home = herd.home("n1");
    let sync = |policy: &str| {
        let path = PathBuf::from(&home).join("data/manada.conf");
        let mut settings =
            manada_postgres::settings::ManagedSettings::read(&path).expect("our own");
        let setting = manada_postgres::settings::Setting::new(
            "synchronous_standby_names",
            policy,
            "For this test.",
        );
        settings.set(setting);
        let owner = manada_postgres::replace_file::FileOwner::like(&path).expect("there");
        settings.write(&path, owner).expect("written");
        herd.sql("n1", "SELECT pg_reload_conf()");
        wait_for("the policy", policy.to_owned(), || {
            herd.sql("n1", "SHOW synchronous_standby_names")
        });
    };
    let remove = |node: &str, more: &[&str]| {
        let mut arguments = vec!["remove", node, "--format", "json", "--home", &home];
        arguments.extend(more);
        herd.manada(&arguments)
    };
    let slots = "SELECT coalesce(string_agg(slot_name, ',' ORDER BY slot_name), '') FROM pg_replication_slots";
    let write =
        "SET synchronous_commit = on; SET statement_timeout = '5s'; INSERT INTO t VALUES (1)";

    sync("ANY 2 (n2, n3)");
    let dry = json(&remove("n2", &["--dry-run"]));
    assert_eq!(dry["policy"]["reduced"]["to"], "ANY 1 (n3)");
    assert_eq!(herd.sql("n1", slots), "manada_n2,manada_n3");
    json(&remove("n2", &[]));
    assert_eq!(herd.sql("n1", slots), "manada_n3");
    assert_eq!(
        herd.sql(
            "n1",
            "SELECT string_agg(name, ',' ORDER BY name) FROM manada.member"
        ),
        "n1,n3"
    );
    assert_eq!(
        herd.sql("n1", "SHOW synchronous_standby_names"),
        "ANY 1 (n3)"
    );
    herd.sql("n1", write);
    let rules = fs::read_to_string(PathBuf::from(&home).join("data/pg_hba.conf")).expect("there");
    assert!(!rules.contains("Node n2"), "{rules}");

    // The last one dies, and with it every write; removing it is the way out.
    json(&herd.manada(&["stop", "--format", "json", "--home", &herd.home("n3")]));
    json(&remove("n3", &[]));
    herd.sql("n1", write);
    assert_eq!(herd.sql("n1", slots), "");
    let (code, error) = refused(&remove("n3", &[]));
    assert_eq!(code, 2, "{error}");
    let (code, error) = refused(&remove("n1", &[]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("is the primary"), "{error}");
    Ok(())
}

fn a_standby_leaves_by_itself_and_its_data_stays() -> Outcome {
    let programs = Programs::any()?;
    let (herd, _) = Herd::init(&programs, &[]);
    herd.joined("n2");
    let home = PathBuf::from(herd.home("n2"));
    let removed = json(&herd.manada(&["remove", "--format", "json", "--home", &herd.home("n2")]));
    assert_eq!(removed["node"], "n2");
    assert_eq!(
        herd.sql("n1", "SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
    assert_eq!(herd.sql("n1", "SELECT count(*) FROM manada.member"), "1");
    assert!(home.join("data/PG_VERSION").exists());
    assert!(home.join("manada.toml.removed").exists());
    assert!(!home.join("data/postmaster.pid").exists(), "it was stopped");

    herd.joined("n3");
    let home = PathBuf::from(herd.home("n3"));
    let removed = json(&herd.manada(&[
        "remove",
        "--delete-data",
        "--format",
        "json",
        "--home",
        &herd.home("n3"),
    ]));
    assert_eq!(removed["deleted"][0], home.to_str().expect("UTF-8"));
    assert!(!home.exists());
    Ok(())
}

fn a_node_is_stopped_and_started() -> Outcome {
    let programs = Programs::any()?;
    let (herd, _) = Herd::init(&programs, &[]);
    let typed =
        |what: &str| json(&herd.manada(&[what, "--format", "json", "--home", &herd.home("n1")]));
    assert_eq!(typed("start")["ran_already"], true);
    assert_eq!(typed("stop")["was_running"], true);
    assert_eq!(typed("stop")["was_running"], false);
    let token = herd.manada(&["token", "--home", &herd.home("n1")]);
    let (code, error) = refused(&token);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("manada start"), "{error}");
    assert_eq!(typed("start")["ran_already"], false);
    assert_eq!(herd.sql("n1", "SELECT 1"), "1");
    Ok(())
}

fn a_killed_init_is_taken_up_by_the_next() -> Outcome {
    let programs = Programs::any()?;
    let scratch = Scratch::new();
    let home = scratch.path().join("n1");
    let port = free_port().to_string();
    let init = || {
        let mut command = manada(&["init", "--format", "json", "--name", "n1", "--port", &port]);
        command.args(["--address", "127.0.0.1", "--pg"]);
        command.arg(programs.bin()).arg("--home").arg(&home);
        command
    };
    for mark in [
        "unfinished",
        "tls/server.crt",
        "data/manada.conf",
        "data/postmaster.pid",
    ] {
        let mut child = init().spawn().expect("manada runs");
        wait_for(mark, true, || home.join(mark).exists());
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert!(!home.join("manada.toml").exists(), "too late: {mark}");
    }
    let made = json(&init().output().expect("manada runs"));
    assert_eq!(made["node"], "n1");
    let (code, error) = refused(&init().output().expect("manada runs"));
    assert_eq!(code, 4, "{error}");
    Ok(())
}
