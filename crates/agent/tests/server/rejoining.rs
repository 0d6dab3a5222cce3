//! A node whose WAL has diverged comes back.

use std::fs;
use std::path::PathBuf;

use manada_agent::server::{OrderError, RejoinError};
use manada_core::action::{Order, Rung, Stop};
use manada_core::server::{Enforced, Gate, ServerFacts};
use manada_model::Lsn;
use manada_postgres::settings::FILE_NAME;
use manada_testbed::{Outcome, Programs};
use rustix::process::Signal;

use crate::flock::{Bird, Flock, any_1, block_on, name, rule};

/// `n1` has led, and has written what nobody received; it was killed, and `n2` leads instead. Tells
/// where they part.
async fn parted(flock: &Flock) -> Lsn {
    let (n1, n2) = (flock.n1(), flock.n2());
    n1.done(Order::WriteRule(rule(1, 0, "n1"))).await;
    let session = n1.session().await;
    let sql = "CREATE TABLE seen AS SELECT generate_series(1, 10000) AS number";
    session.batch_execute(sql).await.expect("written");
    let lsn: Lsn = n1
        .value("SELECT pg_current_wal_flush_lsn()::text")
        .await
        .parse()
        .expect("an LSN");
    n2.standby_that("has it", |facts| facts.position.flush_lsn >= lsn)
        .await;
    n2.done(Order::StopReceiving).await;
    for number in 10_001..10_021 {
        let sql = format!("INSERT INTO seen VALUES ({number})");
        session.batch_execute(&sql).await.expect("written");
    }
    n1.signal(Signal::KILL);
    n1.server.died().await;
    n1.done(Order::Stop(Stop::Immediate)).await;
    let facts = n2.standby_that("is settled", |facts| facts.settled).await;
    n2.done(Order::Promote).await;
    n2.done(Order::WriteRule(rule(2, 0, "n2"))).await;
    n1.done(Order::StartStandby { follow: None }).await;
    let lost = n1.standby_that("is settled", |facts| facts.settled).await;
    assert!(lost.position.flush_lsn > facts.position.flush_lsn);
    facts.position.flush_lsn
}

fn rejoin(leader: &str, diverged_at: Lsn, rung: Rung) -> Order {
    Order::Rejoin {
        leader: name(leader),
        diverged_at: Some(diverged_at),
        rung,
    }
}

/// By a rewind where the version's programs came with it, else by a clone.
async fn rejoin_by_any(bird: &Bird, leader: &str, diverged_at: Lsn) {
    match bird
        .server
        .carry_out(&rejoin(leader, diverged_at, Rung::Rewind))
        .await
    {
        Ok(_) => assert!(bird.node.file.bin_dir.join("pg_rewind").exists()),
        Err(OrderError::Rejoin(RejoinError::NoProgram { .. })) => {
            bird.done(rejoin(leader, diverged_at, Rung::Clone)).await;
        }
        Err(error) => panic!("{error}"),
    }
}

/// It follows, and has what the leader has.
async fn is_whole(bird: &Bird, leader: &Bird) {
    let follow = Some(leader.node.file.name.clone());
    bird.done(Order::StartStandby { follow }).await;
    leader
        .done(Order::Enforce(Enforced::Policy(any_1(&[bird
            .node
            .file
            .name
            .as_str()]))))
        .await;
    leader.done(Order::SetGate(Gate::Open)).await;
    let sql = "SET synchronous_commit = remote_apply; INSERT INTO seen VALUES (-1)";
    leader
        .session()
        .await
        .batch_execute(sql)
        .await
        .expect("acknowledged");
    let sum = "SELECT sum(number)::text || ' ' || count(*) FROM seen";
    assert_eq!(bird.value(sum).await, leader.value(sum).await);
    assert_eq!(
        leader.value("SELECT count(*)::text FROM seen").await,
        "10001"
    );
    let own = "SELECT current_setting('cluster_name') || ' ' || current_setting('port')";
    let file = &bird.node.file;
    assert_eq!(
        bird.value(own).await,
        format!("{} {}", file.name, file.port)
    );
}

fn tails(bird: &Bird) -> Vec<PathBuf> {
    let directory = bird.node.home.divergent_directory();
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.expect("readable").path())
        .collect()
}

pub(crate) fn a_killed_leader_comes_back_and_its_tail_is_saved(programs: Programs) -> Outcome {
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let diverged_at = parted(&flock).await;
        rejoin_by_any(flock.n1(), "n2", diverged_at).await;
        is_whole(flock.n1(), flock.n2()).await;

        let tails = tails(flock.n1());
        let [tail] = tails.as_slice() else {
            panic!("{tails:?}");
        };
        let text = fs::read_to_string(tail.join("description.json")).expect("described");
        let description: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(description["from"], diverged_at.to_string());
        assert!(
            description["bytes"].as_u64().expect("a number") > 1000,
            "{text}"
        );
        if flock.n1().node.file.bin_dir.join("pg_waldump").exists() {
            assert_eq!(description["commits"], 20, "{text}");
        }
        assert!(tail.join("README.txt").exists());
    });
    Ok(())
}

pub(crate) fn a_configuration_that_lies_elsewhere_stays_there() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let mut flock = Flock::of(&programs, 1).await;
        flock.move_configuration(0).await;
        flock.n1().done(Order::StartPrimary).await;
        flock
            .n1()
            .done(Order::Enforce(Enforced::Policy(any_1(&["n2"]))))
            .await;
        flock
            .n2()
            .standby_that("streams", |facts| facts.streams)
            .await;
        let diverged_at = parted(&flock).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        rejoin_by_any(n1, "n2", diverged_at).await;
        is_whole(n1, n2).await;
        let config_file = n1.node.file.config_file.display().to_string();
        assert_eq!(n1.value("SHOW config_file").await, config_file);
        n1.done(rejoin("n2", diverged_at, Rung::Clone)).await;
        n1.done(Order::StartStandby {
            follow: Some(name("n2")),
        })
        .await;
        n1.standby_that("streams", |facts| facts.streams).await;
        assert_eq!(n1.value("SHOW config_file").await, config_file);
        // It can lead again.
        n2.done(Order::Stop(Stop::Fast)).await;
        n1.done(Order::StopReceiving).await;
        n1.done(Order::Promote).await;
        let facts = n1.primary_that("leads", |_| true).await;
        assert_eq!(
            (facts.enforced, facts.gate),
            (Enforced::Nobody, Gate::Closed)
        );
    });
    Ok(())
}

/// Whenever it is broken off, the next try goes on.
pub(crate) fn a_rejoin_may_be_broken_off_at_any_moment() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let diverged_at = parted(&flock).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        n1.done(Order::Stop(Stop::Immediate)).await;
        for rung in [Rung::Rewind, Rung::Clone] {
            for step in 1..8 {
                let order = rejoin("n2", diverged_at, rung);
                let broken_off = tokio::time::timeout(
                    std::time::Duration::from_millis(step * 45),
                    n1.server.carry_out(&order),
                );
                // Done, failed or dropped: all may be.
                broken_off.await.ok();
                let facts = n1.another_agent().look(rule(1, 0, "n1").id).await;
                assert!(
                    matches!(facts, ServerFacts::Unusable | ServerFacts::Stopped { .. }),
                    "{facts:?}"
                );
            }
        }
        n1.done(rejoin("n2", diverged_at, Rung::Clone)).await;
        is_whole(n1, n2).await;
    });
    Ok(())
}

pub(crate) fn data_that_somebody_has_removed_is_cloned_with_the_nodes_own_settings() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        n2.done(Order::Stop(Stop::Fast)).await;
        let own = "SELECT current_setting('cluster_name') || ' ' || current_setting('port')";
        let expected = format!("{} {}", n2.node.file.name, n2.node.file.port);
        for left in [None, Some(""), Some("pg_ident.conf"), Some(FILE_NAME)] {
            let data = &n2.node.file.data_directory;
            fs::remove_dir_all(data).expect("removed");
            if let Some(left) = left {
                fs::create_dir(data).expect("made");
                let of_n1 = n1.node.file.data_directory.join(left);
                if of_n1.is_file() {
                    fs::copy(of_n1, data.join(left)).expect("left");
                }
            }
            assert_eq!(n2.look().await, ServerFacts::Unusable);
            n2.done(Order::Rejoin {
                leader: name("n1"),
                diverged_at: None,
                rung: Rung::Clone,
            })
            .await;
            let follow = Some(name("n1"));
            n2.done(Order::StartStandby { follow }).await;
            n2.standby_that("streams", |facts| facts.streams).await;
            assert_eq!(n2.value(own).await, expected);
            n1.done(Order::Enforce(Enforced::Policy(any_1(&["n2"]))))
                .await;
            n2.done(Order::Stop(Stop::Fast)).await;
        }
    });
    Ok(())
}

pub(crate) fn a_clone_takes_the_place_of_data_that_no_rewind_can_help() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let diverged_at = parted(&flock).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        n1.done(Order::Stop(Stop::Immediate)).await;
        // As a rewind that was killed leaves it.
        fs::write(n1.node.home.rejoin_mark(), "{}").expect("written");
        assert_eq!(n1.look().await, ServerFacts::Unusable);
        let follow = Some(name("n2"));
        let started = n1.server.carry_out(&Order::StartStandby { follow }).await;
        assert!(
            matches!(started, Err(OrderError::RejoinUnfinished)),
            "{started:?}"
        );
        let rewound = n1
            .server
            .carry_out(&rejoin("n2", diverged_at, Rung::Rewind))
            .await;
        let broken_off = OrderError::Rejoin(RejoinError::BrokenOff).to_string();
        assert_eq!(rewound.expect_err("broken off").to_string(), broken_off);
        n1.done(rejoin("n2", diverged_at, Rung::Clone)).await;
        is_whole(n1, n2).await;
        let beside = n1.node.home.path().join("data.manada-rejoin");
        let deadline = std::time::Instant::now() + manada_testbed::PATIENCE;
        while beside.exists() {
            assert!(std::time::Instant::now() < deadline, "the old data stays");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    Ok(())
}

pub(crate) fn a_rewind_that_would_copy_more_than_a_clone_is_left_to_one() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let diverged_at = parted(&flock).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        if !n1.node.file.bin_dir.join("pg_rewind").exists() {
            return;
        }
        let session = n2.session().await;
        for _ in 0..24 {
            let sql = "SELECT pg_logical_emit_message(false, 'manada', ''), pg_switch_wal()";
            session.batch_execute(sql).await.expect("another segment");
        }
        let order = rejoin("n2", diverged_at, Rung::Rewind);
        let rewound = n1.server.carry_out(&order).await;
        assert!(
            matches!(
                rewound,
                Err(OrderError::Rejoin(RejoinError::MoreThanAClone { wal_bytes, .. }))
                    if wal_bytes >= 24 * (16 << 20)
            ),
            "{rewound:?}"
        );
        n1.done(rejoin("n2", diverged_at, Rung::Clone)).await;
        is_whole(n1, n2).await;
    });
    Ok(())
}

pub(crate) fn two_servers_on_one_timeline_are_told_apart() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let diverged_at = parted(&flock).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        // Promoted apart, to the timeline that n2 has.
        n1.done(Order::Promote).await;
        n1.done(Order::Stop(Stop::Immediate)).await;
        if n1.node.file.bin_dir.join("pg_rewind").exists() {
            let rewound = n1
                .server
                .carry_out(&rejoin("n2", diverged_at, Rung::Rewind))
                .await;
            assert!(
                matches!(
                    rewound,
                    Err(OrderError::Rejoin(RejoinError::SameTimeline { .. }))
                ),
                "{rewound:?}"
            );
        }
        n1.done(rejoin("n2", diverged_at, Rung::Clone)).await;
        is_whole(n1, n2).await;
    });
    Ok(())
}
