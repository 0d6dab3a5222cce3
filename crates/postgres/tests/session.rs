//! A session is had exactly where libpq would have one.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use manada_postgres::conninfo::{Conninfo, Environment, RootCertificate, SslMode, SslParameters};
use manada_postgres::transport::{Peer, Transport, TransportError};
use manada_postgres::{ConnectError, Endpoint, Secret, Session};
use manada_testbed::{Outcome, Programs, TestServer, trials};

trials![
    a_password_and_a_channel_bound_tls_session_open_the_server,
    another_issuer_is_refused,
    a_name_that_the_certificate_lacks_is_refused_by_verify_full_alone,
    tls_that_is_not_offered_is_an_error_where_it_is_demanded,
    a_wrong_password_is_the_servers_word_and_does_not_appear,
    a_silent_host_costs_no_more_than_the_limit,
    the_next_host_is_tried,
    peer_authentication_takes_the_identity_it_is_told,
];

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn conninfo(server: &TestServer) -> Conninfo {
    Conninfo::parse(&server.uri(), &Environment::default()).expect("the testbed's URI is valid")
}

fn verified(server: &TestServer, mode: SslMode) -> SslParameters {
    let root = RootCertificate::File(server.ca_certificate());
    SslParameters {
        mode,
        root,
        client: None,
    }
}

fn a_password_and_a_channel_bound_tls_session_open_the_server(programs: Programs) -> Outcome {
    let server = TestServer::with(&programs).tls().start();
    let conninfo = conninfo(&server).with_ssl(verified(&server, SslMode::VerifyFull));
    run(async {
        let session = Session::open(&conninfo).await.expect("a session");
        let row = session
            .query_one(
                "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                &[],
            )
            .await
            .expect("an answer");
        assert!(row.get::<_, bool>(0));
        let transport = Transport::open(&conninfo.endpoints[0], &conninfo.ssl, None)
            .await
            .expect("a stream");
        assert!(
            transport.server_end_point().is_some(),
            "SCRAM had nothing to bind to"
        );
    });
    Ok(())
}

fn another_issuer_is_refused() -> Outcome {
    let programs = Programs::any()?;
    let server = TestServer::with(&programs).tls().start();
    let foreign = SslParameters {
        mode: SslMode::VerifyCa,
        root: RootCertificate::Fingerprint([7; 32]),
        client: None,
    };
    let other = TestServer::with(&programs).tls().start();
    for ssl in [
        verified(&other, SslMode::Require),
        verified(&other, SslMode::VerifyCa),
        verified(&other, SslMode::VerifyFull),
        foreign,
    ] {
        let conninfo = conninfo(&server).with_ssl(ssl);
        let error = run(Session::open(&conninfo)).expect_err("a foreign issuer");
        let shown = error.to_string();
        assert!(
            shown.contains("UnknownIssuer") || shown.contains("BadSignature"),
            "{shown}"
        );
    }
    Ok(())
}

fn a_name_that_the_certificate_lacks_is_refused_by_verify_full_alone() -> Outcome {
    let server = TestServer::with(&Programs::any()?).tls().start();
    let named = |mode| {
        let endpoint = Endpoint {
            hostaddr: Some("127.0.0.1".parse().expect("an address")),
            ..Endpoint::tcp("elsewhere.example", server.port())
        };
        conninfo(&server)
            .for_endpoint(endpoint)
            .with_ssl(verified(&server, mode))
    };
    run(async {
        Session::open(&named(SslMode::VerifyCa))
            .await
            .expect("the issuer is enough");
        let error = Session::open(&named(SslMode::VerifyFull))
            .await
            .expect_err("a wrong name");
        assert!(error.to_string().contains("elsewhere.example"), "{error}");
    });
    Ok(())
}

fn tls_that_is_not_offered_is_an_error_where_it_is_demanded() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let ssl = |mode| SslParameters {
        mode,
        ..SslParameters::default()
    };
    run(async {
        let demanded = conninfo(&server).with_ssl(ssl(SslMode::Require));
        assert!(matches!(
            Session::open(&demanded).await,
            Err(ConnectError::Transport(TransportError::NoTls { .. }))
        ));
        let preferred = conninfo(&server).with_ssl(ssl(SslMode::Prefer));
        Session::open(&preferred)
            .await
            .expect("a session in the clear");
    });
    Ok(())
}

fn a_wrong_password_is_the_servers_word_and_does_not_appear() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let conninfo = conninfo(&server).with_password(Secret::new("hunter2hunter2"));
    let error = run(Session::open(&conninfo)).expect_err("a wrong password");
    let (shown, debugged) = (error.to_string(), format!("{error:?} {conninfo:?}"));
    assert!(shown.contains("password authentication failed"), "{shown}");
    assert!(
        !shown.contains("hunter2") && !debugged.contains("hunter2"),
        "{debugged}"
    );
    Ok(())
}

fn a_silent_host_costs_no_more_than_the_limit() -> Outcome {
    // The kernel accepts and nobody ever speaks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let mut conninfo = Conninfo::tcp("127.0.0.1", port, "postgres");
    conninfo.connect_timeout = Duration::from_millis(200);
    let before = Instant::now();
    let error = run(Session::open(&conninfo)).expect_err("nobody there");
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert!(before.elapsed() < Duration::from_secs(5));
    Ok(())
}

fn the_next_host_is_tried() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let mut conninfo = conninfo(&server);
    // Port 1 on loopback: refused at once.
    conninfo.endpoints.insert(0, Endpoint::tcp("127.0.0.1", 1));
    let session = run(Session::open(&conninfo)).expect("the second host answers");
    assert_eq!(session.endpoint().port, server.port());
    Ok(())
}

fn peer_authentication_takes_the_identity_it_is_told() -> Outcome {
    let server = TestServer::with(&Programs::any()?)
        .access_rule("local all visitor peer map=herd")
        .start();
    let owner = std::fs::metadata(server.data()).expect("a data directory");
    let (uid, gid) = (owner.uid(), owner.gid());
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    let user = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()))
        .and_then(|line| line.split(':').next())
        .expect("the owner has a name");
    std::fs::write(
        server.data().join("pg_ident.conf"),
        format!("herd {user} visitor\n"),
    )
    .expect("the map is written");
    server.query("CREATE ROLE visitor LOGIN");
    server.query("SELECT pg_reload_conf()");
    let conninfo =
        Conninfo::unix(server.directory(), server.port(), "visitor").with_dbname("postgres");
    run(async {
        Session::open_as(&conninfo, Some(Peer { uid, gid }))
            .await
            .expect("peer is enough");
        // The identity was that of one thread for one moment.
        let me = std::fs::metadata("/proc/self").expect("this process");
        assert_eq!(me.uid(), rustix::process::geteuid().as_raw());
    });
    Ok(())
}
