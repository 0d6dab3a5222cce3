//! `init --adopt`: running servers with their configuration elsewhere, as Debian has it.

mod typed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use manada_model::MajorVersion;
use manada_postgres::Secret;
use manada_postgres::initdb::{NewCluster, initdb};
use manada_postgres::os_user::OsUser;
use manada_postgres::process::{READY_WITHIN, StartOptions, start};
use manada_postgres::programs::{Cache, ServerPrograms, Wanted, find};
use manada_postgres::transport::Peer;
use manada_postgres::{Conninfo, Session};
use manada_testbed::{Missing, Outcome, Programs, Scratch, free_port, trials};
use serde_json::Value;

use typed::{Herd, json, manada, refused, said};

trials![
    a_running_server_is_adopted_without_losing_a_row,
    a_certificate_that_clients_may_trust_is_not_replaced_unasked,
    a_server_packaged_by_debian_is_adopted,
    a_cluster_of_debians_becomes_a_standby,
];

/// A running server whose configuration is outside of its data directory.
struct Split {
    scratch: Scratch,
    user: OsUser,
    bin: PathBuf,
    port: u16,
}

impl Split {
    fn start(programs: &Programs, settings: &[(&str, &str)]) -> Split {
        let user = OsUser::for_new_server().expect("somebody runs servers");
        let split = Split {
            scratch: Scratch::new(),
            bin: programs.bin().to_owned(),
            port: free_port(),
            user,
        };
        let (data, etc) = (split.path("data"), split.path("etc"));
        let found = split.programs();
        initdb(
            &found,
            &NewCluster {
                data_directory: &data,
                superuser: split.user.name(),
                password: &Secret::random(),
                wal_segment_megabytes: None,
            },
        )
        .expect("made");
        split.user.create_private_directory(&etc).expect("made");
        for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
            fs::rename(data.join(name), etc.join(name)).expect("moved");
        }
        let mut config = fs::read_to_string(etc.join("postgresql.conf")).expect("there");
        for (name, value) in [
            ("data_directory", data.to_str().expect("UTF-8")),
            ("hba_file", etc.join("pg_hba.conf").to_str().expect("UTF-8")),
            (
                "ident_file",
                etc.join("pg_ident.conf").to_str().expect("UTF-8"),
            ),
            ("port", &split.port.to_string()),
            (
                "unix_socket_directories",
                split.scratch.path().join("run").to_str().expect("UTF-8"),
            ),
        ]
        .iter()
        .chain(settings)
        {
            config += &format!("{name} = '{value}'\n");
        }
        fs::write(etc.join("postgresql.conf"), config).expect("written");
        split
            .user
            .create_private_directory(&split.path("run"))
            .expect("made");
        let rules = "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(etc.join("pg_hba.conf"), rules).expect("written");
        let config_file = etc.join("postgresql.conf");
        start(
            &found,
            &StartOptions {
                data_directory: &data,
                settings: &[("config_file", config_file.to_str().expect("UTF-8"))],
                log_file: &split.path("log"),
                ready_within: READY_WITHIN,
            },
        )
        .expect("started");
        split
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn programs(&self) -> ServerPrograms {
        let cache = Cache::of_this_user().expect("a cache");
        find(&Wanted::Directory(self.bin.clone()), &self.user, &cache)
            .expect("they run")
            .programs
            .expect("they are there")
    }

    fn adopt(&self, more: &[&str]) -> Output {
        let (data, home) = (self.path("data"), self.path("home"));
        manada(&[
            "init",
            "--format",
            "json",
            "--name",
            "n1",
            "--address",
            "127.0.0.2",
        ])
        .args([Path::new("--adopt"), &data, Path::new("--home"), &home])
        .args(more)
        .output()
        .expect("manada runs")
    }

    fn sql(&self, sql: &str) -> String {
        let conninfo =
            Conninfo::unix(self.path("run"), self.port, self.user.name()).with_dbname("postgres");
        query(&conninfo, &self.user, sql)
    }

    /// All files that an adoption could touch.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let entries = fs::read_dir(self.path("etc")).expect("there").flatten();
        entries
            .map(|entry| {
                (
                    entry.path(),
                    fs::read_to_string(entry.path()).expect("text"),
                )
            })
            .collect()
    }
}

fn query(conninfo: &Conninfo, user: &OsUser, sql: &str) -> String {
    let peer = Peer {
        uid: user.uid(),
        gid: user.gid(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let session = Session::open_as(conninfo, Some(peer))
            .await
            .expect("a way in");
        let messages = session
            .simple_query(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        messages
            .iter()
            .find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .unwrap_or_default()
    })
}

fn changes(report: &Value) -> Vec<String> {
    let kind = |change: &Value| {
        let name = change["name"].as_str().unwrap_or_default();
        format!("{} {name}", change["change"].as_str().expect("a kind"))
    };
    report["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(kind)
        .collect()
}

fn a_running_server_is_adopted_without_losing_a_row(programs: Programs) -> Outcome {
    let split = Split::start(&programs, &[]);
    split.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number");
    split.sql("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'theirs'");

    let before = split.files();
    let plan = json(&split.adopt(&["--dry-run"]));
    assert_eq!(split.files(), before, "a dry run writes nothing");
    assert!(!split.path("home").exists());
    assert_eq!(
        split.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'manada%'"),
        "0"
    );
    let planned = changes(&plan);
    for change in [
        "home ",
        "role manada_replicator",
        "role manada_join",
        "schema ",
        "access_rules ",
        "setting ssl",
        "setting listen_addresses",
        "include ",
    ] {
        assert!(
            planned.iter().any(|it| it == change),
            "{change}: {planned:?}"
        );
    }

    let adopted = json(&split.adopt(&[]));
    assert_eq!(changes(&adopted), planned, "it does what it planned");
    let waiting = &adopted["waiting_for_restart"];
    assert_eq!(waiting[0]["name"], "listen_addresses");
    assert_eq!(split.sql("SHOW ssl"), "on");
    assert_eq!(split.sql("SHOW listen_addresses"), "localhost");

    let restarted = json(&split.adopt(&["--restart"]));
    assert_eq!(changes(&restarted), [""; 0]);
    assert_eq!(restarted["waiting_for_restart"], serde_json::json!([]));
    assert_eq!(split.sql("SHOW listen_addresses"), "localhost, 127.0.0.2");

    let files = split.files();
    let again = json(&split.adopt(&[]));
    assert_eq!(changes(&again), [""; 0]);
    assert_eq!(split.files(), files);
    assert_eq!(
        split.sql("SELECT count(*) || '/' || sum(number) FROM kept"),
        "1000/500500"
    );
    assert_eq!(
        split.sql("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'replicator'"),
        "t"
    );

    // The configuration does not come with a clone: the standby gets one of its own.
    let home = split.path("n2");
    let joined = json(
        &manada(&["join", "--format", "json", "--name", "n2", "--pg"])
            .args([split.bin.as_path(), Path::new("--home"), &home])
            .args(["--port", &free_port().to_string()])
            .env("MANADA_TOKEN", adopted["token"].as_str().expect("a token"))
            .output()
            .expect("manada runs"),
    );
    assert!(
        joined["notes"][0]
            .as_str()
            .expect("a note")
            .contains("pg_hba.conf")
    );
    assert_eq!(
        split.sql(
            "SELECT string_agg(application_name || ' ' || usename, ',') FROM pg_stat_replication"
        ),
        "n2 manada_replicator"
    );
    Ok(())
}

fn a_certificate_that_clients_may_trust_is_not_replaced_unasked() -> Outcome {
    let programs = Programs::any()?;
    let split = Split::start(&programs, &[]);
    let adopted = json(&split.adopt(&[]));
    assert!(adopted["token"].is_string());
    // Under another home the first one's certificate is a stranger's.
    let other = split.path("other");
    let other = other.to_str().expect("UTF-8");
    let files = split.files();
    let data = split.path("data");
    let adopt = |more: &[&str]| {
        manada(&[
            "init",
            "--name",
            "n1",
            "--address",
            "127.0.0.1",
            "--home",
            other,
            "--adopt",
        ])
        .arg(&data)
        .args(more)
        .output()
        .expect("manada runs")
    };
    let (code, error) = refused(&adopt(&[]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("--replace-certificate"), "{error}");
    assert_eq!(split.files(), files);
    let output = adopt(&["--replace-certificate"]);
    assert!(output.status.success(), "{}", said(&output));
    Ok(())
}

/// A cluster made by Debian's own tools, removed by them in the end.
struct DebianCluster {
    name: String,
    data: PathBuf,
}

impl DebianCluster {
    const VERSION: &str = "15";

    fn make(scratch: &Scratch) -> Result<DebianCluster, Missing> {
        let tools = ["pg_createcluster", "pg_ctlcluster", "pg_dropcluster"];
        let there = tools
            .iter()
            .all(|tool| Path::new("/usr/bin").join(tool).exists());
        if !there || !manada_postgres::os_user::we_are_root() {
            return Err(Missing::new(
                "Debian's package postgresql-15, and root to use it",
            ));
        }
        let cluster = DebianCluster {
            name: format!("manadatest{}", free_port()),
            data: scratch.path().join("debian"),
        };
        let port = free_port().to_string();
        cluster.run(
            "pg_createcluster",
            &["--port", &port, "-d", cluster.data.to_str().expect("UTF-8")],
            &[],
        );
        Ok(cluster)
    }

    fn config(&self) -> PathBuf {
        Path::new("/etc/postgresql")
            .join(Self::VERSION)
            .join(&self.name)
    }

    fn run(&self, tool: &str, options: &[&str], more: &[&str]) {
        let output = Command::new(tool)
            .args(options)
            .args([Self::VERSION, &self.name])
            .args(more)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{tool}: {}", said(&output));
    }

    fn socket(&self) -> Conninfo {
        let pid_file = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        let lines: Vec<&str> = pid_file.lines().collect();
        Conninfo::unix(lines[4], lines[3].parse().expect("a port"), "postgres")
            .with_dbname("postgres")
    }
}

impl Drop for DebianCluster {
    fn drop(&mut self) {
        // The test's own outcome matters more than a cluster that is already gone.
        Command::new("pg_dropcluster")
            .args(["--stop", Self::VERSION, &self.name])
            .output()
            .ok();
        // It leaves a directory with a file that it does not know: manada.conf.
        fs::remove_dir_all(self.config()).ok();
    }
}

fn a_server_packaged_by_debian_is_adopted() -> Outcome {
    let scratch = Scratch::new();
    let cluster = DebianCluster::make(&scratch)?;
    cluster.run("pg_ctlcluster", &[], &["start"]);
    let user = OsUser::of_data_directory(&cluster.data).expect("its owner");
    let sql = |text: &str| query(&cluster.socket(), &user, text);
    sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number");
    assert_eq!(
        sql("SHOW ssl_cert_file"),
        "/etc/ssl/certs/ssl-cert-snakeoil.pem"
    );

    let home = scratch.path().join("home");
    let adopt = |more: &[&str]| {
        let output = manada(&[
            "init",
            "--format",
            "json",
            "--name",
            "db1",
            "--address",
            "127.0.0.2",
        ])
        .args([
            Path::new("--adopt"),
            &cluster.data,
            Path::new("--home"),
            &home,
        ])
        .args(more)
        .output()
        .expect("manada runs");
        json(&output)
    };
    let adopted = adopt(&["--restart"]);
    assert_eq!(adopted["waiting_for_restart"], serde_json::json!([]));
    let settings_file = adopted["settings_file"].as_str().expect("a path");
    assert!(
        settings_file.starts_with("/etc/postgresql/15/"),
        "{settings_file}"
    );
    assert_eq!(
        sql("SELECT count(*) || '/' || sum(number) FROM kept"),
        "1000/500500"
    );
    assert_eq!(
        sql("SHOW ssl_cert_file"),
        home.join("tls/server.crt").to_str().expect("UTF-8")
    );
    assert_eq!(sql("SHOW listen_addresses"), "localhost, 127.0.0.2");
    assert_eq!(changes(&adopt(&[])), [""; 0]);
    Ok(())
}

fn a_cluster_of_debians_becomes_a_standby() -> Outcome {
    let scratch = Scratch::new();
    let cluster = DebianCluster::make(&scratch)?;
    let (herd, _) = Herd::init(&Programs::find(MajorVersion::V15)?, &[]);
    let port = free_port();
    let data = cluster.data.to_str().expect("UTF-8");
    let join = || {
        let mut command = herd.join("n2", port, &["--pgdata", data]);
        command.output().expect("manada runs")
    };
    let (code, error) = refused(&join());
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("is not empty"), "{error}");

    fs::rename(&cluster.data, scratch.path().join("aside")).expect("moved");
    let config = cluster.config().join("postgresql.conf");
    let text = fs::read_to_string(&config).expect("there");
    fs::write(&config, format!("{text}max_connections = 50\n")).expect("written");
    let (code, error) = refused(&join());
    assert_eq!(code, 4, "{error}");
    assert!(
        error.contains("max_connections is 50") && error.contains("set max_connections = 100"),
        "{error}"
    );
    assert_eq!(herd.sql("n1", "SELECT count(*) FROM manada.member"), "1");

    fs::write(&config, text).expect("written");
    let joined = json(&join());
    assert_eq!(
        joined["settings_file"],
        cluster
            .config()
            .join("manada.conf")
            .to_str()
            .expect("UTF-8")
    );
    let following = "SELECT string_agg(application_name || state, ',') FROM pg_stat_replication";
    assert_eq!(herd.sql("n1", following), "n2streaming");
    cluster.run("pg_ctlcluster", &[], &["stop"]);
    let started = herd.manada(&["start", "--format", "json", "--home", &herd.home("n2")]);
    assert_eq!(json(&started)["ran_already"], false);
    assert_eq!(herd.sql("n2", "SELECT pg_is_in_recovery()"), "t");
    Ok(())
}
