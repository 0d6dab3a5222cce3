//! Cloning over a line that others are on.

use manada_postgres::conninfo::{RootCertificate, SslMode, SslParameters};
use manada_postgres::{Conninfo, Secret};
use manada_testbed::{Outcome, Programs, Scratch, TestServer};

use crate::fixture::{request, run};

pub(crate) fn a_clone_travels_under_tls_bound_to_the_channel(programs: Programs) -> Outcome {
    let server = TestServer::with(&programs)
        .tls()
        .access_rule("hostssl replication replicator 127.0.0.1/32 scram-sha-256")
        .access_rule("host replication replicator 127.0.0.1/32 reject")
        .start();
    server.query("CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'her ''d'");
    let place = Scratch::new();
    let attempt = |mode, name: &str| {
        let source = Conninfo::tcp("127.0.0.1", server.port(), "replicator")
            .with_password(Secret::new("her 'd"))
            .with_ssl(SslParameters {
                mode,
                root: RootCertificate::File(server.ca_certificate()),
                client: None,
            });
        run(request(source, &place.path().join(name)))
    };
    // The server offers channel binding under TLS; it fails the login where the binding is wrong.
    attempt(SslMode::VerifyFull, "data").expect("the clone succeeds");
    let refused = attempt(SslMode::Disable, "open").expect_err("the rule refuses it");
    assert!(refused.to_string().contains("replicator"), "{refused}");
    Ok(())
}

pub(crate) fn a_wrong_password_is_told() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let place = Scratch::new();
    let source = Conninfo::tcp("127.0.0.1", server.port(), "postgres")
        .with_password(Secret::new("not the password"));
    let refused = run(request(source, &place.path().join("data"))).expect_err("it is refused");
    let told = refused.to_string();
    assert!(told.contains("password authentication failed"), "{told}");
    assert!(!told.contains("not the password"), "{told}");
    Ok(())
}
