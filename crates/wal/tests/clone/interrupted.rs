//! A clone that is broken off leaves what was there, and can be run again.

use std::fs;

use manada_testbed::faults::SmallDisk;
use manada_testbed::{Outcome, Programs, Scratch, TestServer, wait_until};
use manada_wal::clone::{self, CloneError, ClonePhase, CloneRequest, TransferRate};
use tokio::sync::Notify;

use crate::fixture::{SLOT, block_on, fill, names_in, request, run, source, source_at};
use crate::proxy::{Fault, Proxy};

const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";

pub(crate) fn a_clone_whose_connection_dies_can_be_run_again() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    fill(&server, 32);
    let place = Scratch::new();
    let target = place.path().join("data");
    let proxy = Proxy::start(
        server.port(),
        Fault::Cut {
            after_bytes: 20 << 20,
        },
    );
    let failed = run(request(source_at(&server, proxy.port()), &target));
    assert_eq!(proxy.struck(), 1);
    let failed = failed.expect_err("it was cut");
    assert!(failed.remedy().contains("run it again"), "{failed}");
    assert_eq!(names_in(place.path()), Vec::<String>::new());
    server.wait_for(SLOTS, "0");

    run(request(source(&server), &target)).expect("the second attempt succeeds");
    assert_eq!(names_in(place.path()), ["data"]);
    assert_eq!(server.value(SLOTS), "1");
    Ok(())
}

pub(crate) fn a_clone_that_is_dropped_leaves_nothing() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    fill(&server, 32);
    let place = Scratch::new();
    let request = CloneRequest {
        rate_max: Some(TransferRate::from_kib_per_second(4 << 10).expect("in range")),
        ..request(source(&server), &place.path().join("data"))
    };
    block_on(async {
        let begun = Notify::new();
        let clone = clone::run(request, |progress| {
            if progress.bytes_done > 0 {
                begun.notify_one();
            }
        });
        tokio::select! {
            outcome = clone => panic!("it ended too early: {outcome:?}"),
            () = begun.notified() => {}
        }
        // Dropping the slot is the runtime's last work for it.
        let dropped = || server.value(SLOTS) == "0";
        tokio::task::block_in_place(|| wait_until("the slot is dropped", dropped));
    });
    wait_until("the partial clone is removed", || {
        names_in(place.path()).is_empty()
    });
    Ok(())
}

pub(crate) fn a_disk_that_is_or_becomes_full_is_told() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    fill(&server, 16);
    let place = Scratch::new();
    let disk = SmallDisk::mount(place.path().join("disk"), 80)?;
    let target = disk.path().join("data");
    let request = || CloneRequest {
        rate_max: Some(TransferRate::from_kib_per_second(8 << 10).expect("in range")),
        ..request(source(&server), &target)
    };
    // There is room when it begins.
    let failed = block_on(clone::run(request(), |progress| {
        if progress.phase == ClonePhase::Copying && progress.bytes_done > 0 {
            disk.fill();
        }
    }));
    let failed = failed.expect_err("the disk becomes full");
    assert!(matches!(failed, CloneError::DiskFull { .. }), "{failed}");
    assert_eq!(
        names_in(disk.path()).len(),
        1,
        "what filled the disk is all that is left"
    );
    // There is none.
    let failed = run(request()).expect_err("the disk is full");
    let full = matches!(
        failed,
        CloneError::NotEnoughSpace { .. } | CloneError::DiskFull { .. }
    );
    assert!(full, "{failed}");
    disk.make_room();
    run(request()).expect("there is room again");
    assert_eq!(names_in(disk.path()), ["data"]);
    Ok(())
}

pub(crate) fn only_our_own_abandoned_clones_are_removed() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let place = Scratch::new();
    let abandoned = place.path().join("data.manada-partial-killed");
    fs::create_dir_all(abandoned.join("data/base")).expect("it can be made");
    fs::write(abandoned.join("MANADA_PARTIAL_CLONE"), "").expect("it can be written");
    let foreign = place.path().join("data.manada-partial-foreign");
    fs::create_dir(&foreign).expect("it can be made");
    fs::write(foreign.join("precious"), "").expect("it can be written");

    run(request(source(&server), &place.path().join("data"))).expect("the clone succeeds");
    assert_eq!(
        names_in(place.path()),
        ["data", "data.manada-partial-foreign"]
    );
    assert!(foreign.join("precious").exists());
    let slot = format!("SELECT slot_name FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
    assert_eq!(server.value(&slot), SLOT);

    // The slot is there already: it is taken, and it stays when this attempt fails.
    let proxy = Proxy::start(
        server.port(),
        Fault::Cut {
            after_bytes: 1 << 20,
        },
    );
    let again = request(
        source_at(&server, proxy.port()),
        &place.path().join("other"),
    );
    run(again).expect_err("it was cut");
    assert_eq!(server.value(&slot), SLOT);
    Ok(())
}
