//! A herd of one node, made by real server programs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use manada_herd::member::members;
use manada_herd::{CreateError, Created, Home, NewHerd, Node, Survey, create};
use manada_postgres::os_user::OsUser;
use manada_postgres::{Conninfo, Session};
use manada_testbed::{Outcome, Programs, Scratch, free_port, trials};

trials![
    a_new_herd_is_served_over_tls_as_its_files_say,
    a_second_init_is_refused_and_an_interrupted_one_taken_up,
    a_taken_port_and_a_foreign_data_directory_are_refused,
    hostile_paths_are_quoted_everywhere,
    members_that_are_remembered_are_asked_where_this_hosts_server_is_silent,
];

fn new_herd(home: &Path) -> NewHerd {
    NewHerd {
        home: Home::at(home).expect("absolute"),
        herd: "test".parse().expect("valid"),
        name: "n1".parse().expect("valid"),
        addresses: vec!["127.0.0.1".parse().expect("valid")],
        port: free_port(),
        archive_directory: None,
        manada: "/bin/true".into(),
        token_lifetime: Duration::from_secs(60),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

async fn made(programs: &Programs, new: &NewHerd) -> Created {
    match create(&programs.as_server_programs(), new, &|_| {}).await {
        Ok(created) => created,
        Err(error) => panic!("{error}"),
    }
}

async fn value(session: &Session, sql: &str) -> String {
    session
        .query_one(sql, &[])
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

fn a_new_herd_is_served_over_tls_as_its_files_say(programs: Programs) -> Outcome {
    let scratch = Scratch::new();
    let new = new_herd(&scratch.path().join("home"));
    block_on(async {
        let created = made(&programs, &new).await;
        let node = Node::open(new.home.clone()).expect("a finished node");
        assert_eq!(node, created.node);
        assert!(!new.home.path().join("unfinished").exists());

        let admin = node.open_superuser().await.expect("through the socket");
        let errors = value(
            &admin,
            "SELECT coalesce(string_agg(name || ': ' || error, '; '), 'none') FROM pg_file_settings \
             WHERE error IS NOT NULL OR NOT applied AND sourcefile LIKE '%manada.conf'",
        )
        .await;
        assert_eq!(errors, "none");
        let hba = "SELECT coalesce(string_agg(error, '; '), 'none') FROM pg_hba_file_rules";
        assert_eq!(value(&admin, hba).await, "none");
        let pending = "SELECT count(*)::text FROM pg_settings WHERE pending_restart";
        assert_eq!(value(&admin, pending).await, "0");
        assert_eq!(value(&admin, "SHOW data_checksums").await, "on");
        assert_eq!(
            value(&admin, "SELECT name || host || port FROM manada.member").await,
            format!("n1127.0.0.1{}", new.port)
        );

        let monitor = Session::open(&node.monitor(node.endpoint()))
            .await
            .expect("with password and certificate");
        let tls = "SELECT client_dn || version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(value(&monitor, tls).await, "/CN=n1TLSv1.3");
        assert!(
            monitor
                .query("SELECT pg_read_file('x')", &[])
                .await
                .is_err()
        );
        let mut without = node.monitor(node.endpoint());
        without.ssl.client = None;
        assert!(Session::open(&without).await.is_err(), "no certificate");
    });
    for (name, mode) in [
        ("passfile", 0o600),
        ("tls/ca.key", 0o600),
        ("tls/server.key", 0o600),
        ("manada.toml", 0o600),
        ("data/manada.conf", 0o600),
        // Clients on this host read the certificate and nothing else.
        ("", 0o711),
        ("tls", 0o711),
        ("tls/ca.crt", 0o644),
        ("log", 0o700),
        ("data", 0o700),
    ] {
        let metadata = fs::metadata(new.home.path().join(name)).expect(name);
        assert_eq!(metadata.mode() & 0o777, mode, "{name}");
        let user = OsUser::for_new_server().expect("somebody");
        assert_eq!(metadata.uid(), user.uid(), "{name}");
    }
    Ok(())
}

fn a_second_init_is_refused_and_an_interrupted_one_taken_up() -> Outcome {
    let programs = Programs::any()?;
    let scratch = Scratch::new();
    let mut new = new_herd(&scratch.path().join("home"));
    block_on(async {
        let first = made(&programs, &new).await;
        let again = create(&programs.as_server_programs(), &new, &|_| {}).await;
        assert!(matches!(again, Err(CreateError::NodeExists { .. })));

        // As a killed run leaves it: the server up, the last files not written.
        fs::write(new.home.path().join("unfinished"), "init\n").expect("written");
        fs::remove_file(new.home.node_file()).expect("there");
        new.port = free_port();
        let second = made(&programs, &new).await;
        assert_eq!(
            second.node.file.system_identifier,
            first.node.file.system_identifier
        );
        assert_eq!(
            second.token.authority_fingerprint,
            first.token.authority_fingerprint
        );
        let admin = second
            .node
            .open_superuser()
            .await
            .expect("through the socket");
        assert_eq!(
            value(
                &admin,
                "SELECT string_agg(port::text, ',') FROM manada.member"
            )
            .await,
            new.port.to_string()
        );
    });
    Ok(())
}

fn a_taken_port_and_a_foreign_data_directory_are_refused() -> Outcome {
    let programs = Programs::any()?;
    let scratch = Scratch::new();
    let mut new = new_herd(&scratch.path().join("home"));
    block_on(async {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        new.port = listener.local_addr().expect("bound").port();
        let taken = create(&programs.as_server_programs(), &new, &|_| {}).await;
        assert!(matches!(taken, Err(CreateError::Port(_))), "{taken:?}");
        assert!(!new.home.data().exists());

        let theirs = new.home.data().join("theirs");
        fs::create_dir_all(new.home.data()).expect("made");
        fs::write(&theirs, "data").expect("written");
        let foreign = create(&programs.as_server_programs(), &new, &|_| {}).await;
        assert!(matches!(foreign, Err(CreateError::DataNotOurs { .. })));
        // What an unfinished join left is a standby.
        fs::write(new.home.path().join("unfinished"), "join\n/x\n").expect("written");
        let standby = create(&programs.as_server_programs(), &new, &|_| {}).await;
        assert!(matches!(standby, Err(CreateError::DataNotOurs { .. })));
        assert_eq!(fs::read_to_string(theirs).expect("still there"), "data");
    });
    Ok(())
}

fn members_that_are_remembered_are_asked_where_this_hosts_server_is_silent() -> Outcome {
    let programs = Programs::any()?;
    let scratch = Scratch::new();
    let new = new_herd(&scratch.path().join("home"));
    block_on(async {
        let node = made(&programs, &new).await.node;
        let admin = node.open_superuser().await.expect("through the socket");
        let mut survey = Survey::of(
            Conninfo::unix(scratch.path(), node.file.port, "postgres"),
            Duration::from_secs(10),
        );
        survey.others = node.monitor(node.endpoint());
        assert!(!survey.run().await.any_answered());
        survey.remembered = members(&admin).await.expect("listed");
        let status = survey.run().await;
        assert!(status.any_answered());
        // The silent one is not shown besides.
        assert_eq!(status.nodes.len(), 1, "{status:?}");
    });
    Ok(())
}

fn hostile_paths_are_quoted_everywhere() -> Outcome {
    let programs = Programs::any()?;
    let scratch = Scratch::new();
    let mut new = new_herd(&scratch.path().join("a b'c\"d$(x) ñ%f;\\"));
    let archive = scratch.path().join("ar'ch %p\\");
    fs::create_dir(&archive).expect("made");
    new.archive_directory = Some(archive.clone());
    let user = OsUser::for_new_server().expect("somebody runs servers");
    block_on(async {
        if manada_postgres::os_user::we_are_root() {
            let refused = create(&programs.as_server_programs(), &new, &|_| {}).await;
            let error = refused.expect_err("root's directory").to_string();
            assert!(error.contains("chown"), "{error}");
        }
        user.own(&archive).expect("given");
        let created = made(&programs, &new).await;
        let admin = created
            .node
            .open_superuser()
            .await
            .expect("through the socket");
        assert_eq!(
            value(&admin, "SHOW ssl_ca_file").await,
            new.home.ca_certificate().to_str().expect("UTF-8")
        );
        let body = value(&admin, "SELECT prosrc FROM pg_proc WHERE proname = 'admit'").await;
        assert!(body.contains("COPY (SELECT %L) TO PROGRAM"));
        let monitor = created.node.monitor(created.node.endpoint());
        Session::open(&monitor).await.expect("over TLS");
    });
    Ok(())
}
