//! What is seen of servers that die, hang or stop.

use std::time::{Duration, Instant};

use manada_agent::server::OrderError;
use manada_core::action::{Order, Stop};
use manada_core::position::Position;
use manada_core::server::{Enforced, ServerFacts};
use manada_core::timer::Timings;
use manada_testbed::{Outcome, Programs, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::flock::{Bird, Flock, any_1, block_on, name, rule_id};

/// A server that is dead is known to be within this time also on a busy machine.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

fn signal(pid: &str, signal: Signal) {
    let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a process");
    kill_process(pid, signal).expect("signalled");
}

async fn process(bird: &Bird, backend_type: &str) -> String {
    let sql = format!(
        "SELECT coalesce(min(pid), 0)::text FROM pg_stat_activity WHERE backend_type = '{backend_type}'"
    );
    bird.value(&sql).await
}

pub(crate) fn a_death_is_known_at_once_whoever_started_the_server(programs: Programs) -> Outcome {
    block_on(async {
        let flock = Flock::of(&programs, 0).await;
        let n1 = flock.n1();
        let other = n1.another_agent();
        let before = n1.postmaster();
        assert!(matches!(
            other.look(rule_id(0, 0)).await,
            ServerFacts::Primary(_)
        ));
        assert_eq!(n1.postmaster(), before);
        for agent in [&other, &n1.server] {
            let early = tokio::time::timeout(Duration::from_millis(20), agent.died()).await;
            assert!(early.is_err(), "it lives");
        }
        let killed_at = Instant::now();
        n1.signal(Signal::KILL);
        other.died().await;
        let took = killed_at.elapsed();
        assert!(took < KNOWN_WITHIN, "{took:?}");
        n1.server.died().await;
        n1.done(Order::Stop(Stop::Immediate)).await;
        let facts = n1.look().await;
        let ServerFacts::Stopped {
            clean_end,
            was_primary,
        } = facts
        else {
            panic!("{facts:?}");
        };
        assert_eq!((clean_end, was_primary), (None, true));
        n1.done(Order::StartPrimary).await;
        let facts = n1.primary_that("is up again", |_| true).await;
        assert_eq!(facts.enforced, Enforced::Nobody);
        assert!(facts.recovery_end_lsn <= facts.position.flush_lsn);
        let early = tokio::time::timeout(Duration::from_millis(20), n1.server.died()).await;
        assert!(early.is_err(), "one death is told once");
    });
    Ok(())
}

pub(crate) fn a_postmaster_that_is_stopped_is_unresponsive() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 0).await;
        let n1 = flock.n1();
        n1.primary_that("answers", |_| true).await;
        n1.signal(Signal::STOP);
        n1.that("hangs", |facts| *facts == ServerFacts::Unresponsive)
            .await;
        let begun = Instant::now();
        n1.look().await;
        assert!(begun.elapsed() < Duration::from_secs(4));
        n1.signal(Signal::CONT);
        n1.primary_that("answers", |_| true).await;
        n1.signal(Signal::STOP);
        n1.done(Order::Stop(Stop::Immediate)).await;
        assert!(matches!(n1.look().await, ServerFacts::Stopped { .. }));
    });
    Ok(())
}

pub(crate) fn a_server_without_room_for_sessions_is_seen() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 0).await;
        let n1 = flock.n1();
        n1.primary_that("answers", |_| true).await;
        let mut sessions = Vec::new();
        while let Ok(session) = n1.node.open_superuser().await {
            sessions.push(session);
            // So that the kept session is not the one without which there is room.
            n1.primary_that("answers", |_| true).await;
        }
        let until = Instant::now() + Duration::from_millis(2500);
        while Instant::now() < until {
            let facts = n1.look().await;
            assert!(matches!(facts, ServerFacts::Primary(_)), "{facts:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    Ok(())
}

pub(crate) fn a_clean_stop_tells_where_the_wal_ends(programs: Programs) -> Outcome {
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        n1.done(Order::Checkpoint).await;
        n1.done(Order::Stop(Stop::Fast)).await;
        let facts = n1.server.look(rule_id(4, 2)).await;
        n2.done(Order::StopReceiving).await;
        let received = n2.standby_that("is settled", |facts| facts.settled).await;
        let clean_end = Some(Position {
            rule: rule_id(4, 2),
            flush_lsn: received.position.flush_lsn,
        });
        let was_primary = true;
        assert_eq!(
            facts,
            ServerFacts::Stopped {
                clean_end,
                was_primary
            }
        );
        // Where a standby's WAL ends is not in its files.
        n2.done(Order::Stop(Stop::Fast)).await;
        let stopped = ServerFacts::Stopped {
            clean_end: None,
            was_primary: false,
        };
        assert_eq!(n2.look().await, stopped);
        n2.done(Order::StartStandby { follow: None }).await;
        let again = n2.standby_that("is settled", |facts| facts.settled).await;
        assert_eq!(again.position, received.position);
    });
    Ok(())
}

pub(crate) fn a_walreceiver_that_hangs_is_got_rid_of(programs: Programs) -> Outcome {
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let n2 = flock.n2();
        let receiver = process(n2, "walreceiver").await;
        signal(&receiver, Signal::STOP);
        n2.done(Order::StopReceiving).await;
        let facts = n2.standby_that("is settled", |facts| facts.settled).await;
        assert_eq!(facts.follows, None);
        assert_eq!(process(n2, "walreceiver").await, "0");
        n2.done(Order::Follow { leader: name("n1") }).await;
        n2.standby_that("streams", |facts| facts.streams).await;
    });
    Ok(())
}

pub(crate) fn a_policy_is_in_force_only_when_the_checkpointer_obeys(programs: Programs) -> Outcome {
    let checks_for_itself = programs.version() == manada_model::MajorVersion::V18;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let n1 = flock.n1();
        let checkpointer = process(n1, "checkpointer").await;
        signal(&checkpointer, Signal::STOP);
        let order = Order::Enforce(Enforced::Policy(any_1(&["n2"])));
        let enforced = n1.server.carry_out(&order).await;
        signal(&checkpointer, Signal::CONT);
        if !checks_for_itself {
            assert!(
                matches!(enforced, Err(OrderError::NotWaiting { .. })),
                "{enforced:?}"
            );
        }
        n1.done(order).await;
        let facts = n1.primary_that("waits", |_| true).await;
        assert_eq!(facts.enforced, Enforced::Policy(any_1(&["n2"])));
    });
    Ok(())
}

/// Half of `wal_sender_timeout` without a word, and the walsender asks for one, which is answered
/// whatever the standby has set: so a quorum counts as silent only if it is.
pub(crate) fn a_standby_that_reports_nothing_by_itself_is_heard_of_in_time() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        let timeout = n1
            .value(
                "SELECT extract(epoch FROM current_setting('wal_sender_timeout')::interval)::text",
            )
            .await;
        let timeout = Duration::from_secs_f64(timeout.parse().expect("seconds"));
        let silent = Timings::default().quorum_silent;
        assert!(timeout / 2 + Duration::from_secs(1) < silent, "{timeout:?}");
        let session = n2.session().await;
        for sql in [
            "ALTER SYSTEM SET wal_receiver_status_interval = 0",
            "SELECT pg_reload_conf()",
        ] {
            session.batch_execute(sql).await.expect("set");
        }
        n2.value_is("SHOW wal_receiver_status_interval", "0").await;
        for _ in 0..3 {
            n1.primary_that("hears of it", |facts| {
                facts.followers.iter().any(|follower| follower.replied)
            })
            .await;
        }
    });
    Ok(())
}

pub(crate) fn every_node_has_a_slot_for_every_other() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 2).await;
        let slots = "SELECT coalesce(string_agg(slot_name || CASE WHEN restart_lsn IS NULL \
                     THEN '' ELSE '*' END, ' ' ORDER BY slot_name), '') FROM pg_replication_slots";
        flock.n1().value_is(slots, "manada_n2* manada_n3*").await;
        flock.n2().value_is(slots, "manada_n1 manada_n3").await;
        flock.n3().value_is(slots, "manada_n1 manada_n2").await;
        flock.n1().done(Order::Stop(Stop::Fast)).await;
        flock.n2().done(Order::StopReceiving).await;
        flock.n2().done(Order::Promote).await;
        for follower in [flock.n1(), flock.n3()] {
            let follow = Some(name("n2"));
            follower.done(Order::StartStandby { follow }).await;
            follower
                .standby_that("streams", |facts| facts.streams)
                .await;
        }
        flock.n2().value_is(slots, "manada_n1* manada_n3*").await;
        // n3 may have come to n1 once more; the upkeep of slots follows.
        let members = flock.n1().server.members();
        flock
            .n1()
            .server
            .admit_members(&members)
            .await
            .expect("admitted");
        flock.n1().value_is(slots, "manada_n2 manada_n3").await;
    });
    Ok(())
}

pub(crate) fn a_session_that_outlives_its_postmaster_does_not_keep_the_next_from_starting()
-> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 0).await;
        let n1 = flock.n1();
        let busy = n1.session().await;
        let pid = busy.query_one("SELECT pg_backend_pid()::text", &[]).await;
        let pid: String = pid.expect("told").get(0);
        let computing = tokio::spawn(async move {
            let sql = "SELECT count(*) FROM generate_series(1, 1000000000000) AS number";
            busy.query_one(sql, &[]).await.is_ok()
        });
        let state =
            format!("SELECT coalesce(min(state), '') FROM pg_stat_activity WHERE pid = {pid}");
        n1.value_is(&state, "active").await;
        n1.signal(Signal::KILL);
        n1.server.died().await;
        let process = std::path::Path::new("/proc").join(&pid);
        assert!(process.exists(), "it computes on");
        n1.done(Order::StartPrimary).await;
        n1.primary_that("is up again", |_| true).await;
        // Whoever it was left to may take its time to reap it.
        wait_until("it has ended", || {
            std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
        });
        assert!(!computing.await.expect("no panic"));
    });
    Ok(())
}

/// What a standby says of its replay.
const REPLAY: &str = "SELECT pg_get_wal_replay_pause_state()";

pub(crate) fn a_standby_has_the_limits_that_its_primarys_wal_asks_for(
    programs: Programs,
) -> Outcome {
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        // As a clone of a server on which somebody has set it.
        n2.alter_system("max_connections = 101").await;
        n1.alter_system("max_connections = 130").await;
        n1.done(Order::Stop(Stop::Fast)).await;
        n1.done(Order::StartPrimary).await;
        n2.value_is(REPLAY, "paused").await;

        // A recruit that replays nothing would settle never.
        n2.done(Order::StopReceiving).await;
        n2.standby_that("has replayed all", |facts| facts.settled)
            .await;
        assert_eq!(n2.value("SHOW max_connections").await, "130");
        let settings = std::fs::read_to_string(n2.node.file.settings_file()).expect("there");
        assert!(settings.contains("max_connections = '130'"), "{settings}");

        // One that does not run when it comes to that starts all the same.
        let follow = Some(name("n1"));
        n2.done(Order::Follow { leader: name("n1") }).await;
        n2.standby_that("streams", |facts| facts.streams).await;
        n1.alter_system("max_worker_processes = 11").await;
        n1.done(Order::Stop(Stop::Fast)).await;
        n1.done(Order::StartPrimary).await;
        n2.value_is(REPLAY, "paused").await;
        n2.done(Order::Stop(Stop::Fast)).await;
        n2.done(Order::StartStandby { follow }).await;
        n2.value_is(REPLAY, "not paused").await;
        assert_eq!(n2.value("SHOW max_worker_processes").await, "11");
        assert_eq!(n2.value("SHOW max_connections").await, "130");
    });
    Ok(())
}

pub(crate) fn a_recruit_does_not_stay_behind_on_purpose() -> Outcome {
    let programs = Programs::any()?;
    block_on(async {
        let flock = Flock::of(&programs, 1).await;
        let (n1, n2) = (flock.n1(), flock.n2());
        // Below the include of `manada.conf` it would be the operator's last word.
        let path = &n2.node.file.config_file;
        let text = std::fs::read_to_string(path).expect("there");
        let text = format!("recovery_min_apply_delay = '1h'\n{text}");
        std::fs::write(path, text).expect("written");
        n2.value("SELECT pg_reload_conf()::text").await;
        n2.value_is("SHOW recovery_min_apply_delay", "1h").await;
        n1.session()
            .await
            .batch_execute("CREATE TABLE late (x int)")
            .await
            .expect("written");
        let written = n1.value("SELECT pg_current_wal_lsn()::text").await;
        let received = format!("SELECT (pg_last_wal_receive_lsn() >= '{written}')::text");
        n2.value_is(&received, "true").await;
        assert_eq!(
            n2.value("SELECT to_regclass('late') IS NULL || ''").await,
            "true"
        );

        n2.done(Order::StopReceiving).await;
        n2.standby_that("has replayed all", |facts| facts.settled)
            .await;
        let leader = name("n1");
        n2.done(Order::Follow { leader }).await;
        n2.value_is("SHOW recovery_min_apply_delay", "1h").await;
    });
    Ok(())
}
