//! Who gets in, and what is archived.

use manada_core::action::{Order, Stop};
use manada_core::server::{Enforced, Gate};
use manada_herd::protection;
use manada_postgres::{Conninfo, Secret, Session};
use manada_testbed::{Outcome, Programs};

use crate::flock::{Bird, Flock, block_on};

async fn make_client(bird: &Bird) -> Conninfo {
    let sql = "CREATE ROLE app LOGIN PASSWORD 'secret'";
    bird.session().await.batch_execute(sql).await.expect("made");
    Conninfo::tcp("127.0.0.1", bird.node.file.port, "app")
        .with_dbname("postgres")
        .with_password(Secret::new("secret"))
}

async fn gets_in(client: &Conninfo) -> bool {
    Session::open(client).await.is_ok()
}

pub(crate) fn a_closed_gate_lets_in_the_herd_alone(programs: Programs) -> Outcome {
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        let client = make_client(n1).await;
        assert!(gets_in(&client).await);
        assert!(n1.node.home.archiving_mark().exists());

        n1.done(Order::SetGate(Gate::Closed)).await;
        assert!(!gets_in(&client).await);
        assert!(!n1.node.home.archiving_mark().exists());
        let facts = n1.primary_that("is closed", |_| true).await;
        assert_eq!(facts.gate, Gate::Closed);
        // Standbys come back, members read the status, and may rewind.
        n1.value("SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_replication")
            .await;
        n1.primary_that("is followed again", |facts| {
            facts.followers.iter().any(|follower| follower.streaming)
        })
        .await;
        Session::open(&n2.node.monitor(n1.node.endpoint()))
            .await
            .expect("the herd");
        let source = protection::rewind_source(&n2.node, n1.node.endpoint());
        let rewinding = Session::open(&source).await.expect("the herd");
        let sql = "SELECT length(pg_read_binary_file('global/pg_control', 0, 100, true))";
        let length: i32 = rewinding.query_one(sql, &[]).await.expect("granted").get(0);
        assert_eq!(length, 100);

        // What the members are changes nothing about it, and a restart neither.
        n1.server
            .admit_members(&n1.server.members())
            .await
            .expect("admitted");
        assert!(!gets_in(&client).await);
        n1.done(Order::Stop(Stop::Fast)).await;
        n1.done(Order::StartPrimary).await;
        let facts = n1.primary_that("is closed", |_| true).await;
        assert_eq!(facts.gate, Gate::Closed);
        assert_eq!(facts.enforced, Enforced::Nobody);
        assert!(!gets_in(&client).await);

        n1.done(Order::SetGate(Gate::Open)).await;
        assert!(gets_in(&client).await);
        assert!(n1.node.home.archiving_mark().exists());
    });
    Ok(())
}

pub(crate) fn rules_with_a_mistake_are_told() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 0).await;
        let n1 = flock.n1();
        let path = &n1.node.file.hba_file;
        let text = std::fs::read_to_string(path).expect("there");
        std::fs::write(path, format!("{text}local all all nonsense\n")).expect("written");
        let closed = n1.server.carry_out(&Order::SetGate(Gate::Closed)).await;
        let said = closed
            .expect_err("the server keeps its former rules")
            .to_string();
        assert!(said.contains("nonsense"), "{said}");
    });
    Ok(())
}
