//! A clone is the server that it was made of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use manada_testbed::{Outcome, Programs, Scratch, TestServer, wait_until};
use manada_wal::clone::{CloneRequest, TransferRate};

use crate::fixture::{DIGEST, SLOT, cloned_standby, fill, request, run, source};

pub(crate) fn a_clone_boots_as_a_standby_and_is_equal(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    fill(&primary, 16);
    let standby = cloned_standby(&primary);
    primary.query("INSERT INTO t SELECT -i, 'later' FROM generate_series(1, 100) i");
    let expected = primary.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    assert_eq!(standby.value("SELECT pg_is_in_recovery()"), "t");
    let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
    assert_eq!(primary.value(&active), "t");
    Ok(())
}

pub(crate) fn a_clone_is_made_while_the_source_is_written(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    fill(&primary, 32);
    let over = AtomicBool::new(false);
    let standby = thread::scope(|scope| {
        scope.spawn(|| {
            let session = primary.session();
            while !over.load(Ordering::Relaxed) {
                // More than a WAL segment in a few rounds.
                session
                    .query("UPDATE t SET text = repeat(md5(random()::text), 30) WHERE id % 16 = 0");
            }
        });
        let standby = cloned_standby(&primary);
        over.store(true, Ordering::Relaxed);
        standby
    });
    let expected = primary.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    Ok(())
}

pub(crate) fn a_standby_can_be_cloned() -> Outcome {
    let primary = TestServer::start(&Programs::any()?);
    fill(&primary, 4);
    let standby = cloned_standby(&primary);
    let expected = primary.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    let copy = cloned_standby(&standby);
    copy.wait_for(DIGEST, &expected);
    primary.query("DELETE FROM t WHERE id < 100");
    let expected = primary.value(DIGEST);
    copy.wait_for(DIGEST, &expected);
    Ok(())
}

pub(crate) fn a_promoted_standby_can_be_cloned() -> Outcome {
    let primary = TestServer::start(&Programs::any()?);
    fill(&primary, 4);
    let promoted = cloned_standby(&primary);
    primary.stop();
    promoted.query("SELECT pg_promote()");
    let standby = cloned_standby(&promoted);
    assert!(standby.data().join("pg_wal/00000002.history").exists());
    promoted.query("DELETE FROM t WHERE id < 100");
    let expected = promoted.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    Ok(())
}

/// Under `*` PostgreSQL would take whoever reports a position for a standby, and count WAL as
/// safe that lies in a directory which may yet be given up.
pub(crate) fn any_name_is_not_a_synchronous_standby() -> Outcome {
    let primary = TestServer::start(&Programs::any()?);
    fill(&primary, 64);
    primary.set("synchronous_standby_names", "*");
    let place = Scratch::new();
    let request = CloneRequest {
        // Slow enough to be seen at work.
        rate_max: Some(TransferRate::from_kib_per_second(16 << 10).expect("valid")),
        ..request(source(&primary), &place.path().join("data"))
    };
    let synchronous = "SELECT count(*) FROM pg_stat_replication \
        WHERE application_name = 'manada_clone_test' AND sync_state IN ('sync', 'quorum')";
    let flushed = "SELECT count(*) FROM pg_stat_replication \
        WHERE application_name = 'manada_clone_test' AND state = 'streaming' AND flush_lsn IS NULL";
    thread::scope(|scope| {
        let clone = scope.spawn(|| run(request));
        wait_until("the WAL is streamed", || primary.value(flushed) == "1");
        let commit = primary.session();
        let commit = commit.start("INSERT INTO t VALUES (-1, 'waits')");
        clone.join().expect("no panic").expect("the clone succeeds");
        let waited = commit.within(std::time::Duration::ZERO).is_none();
        assert!(waited, "a commit was acknowledged by a clone in the making");
        assert_eq!(primary.value(synchronous), "0");
    });
    primary.set("synchronous_standby_names", "");
    Ok(())
}
