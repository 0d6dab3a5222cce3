//! A clone that is broken off leaves what was there, and can be run again.

use std::fs;

use manada_testbed::{Outcome, Programs, Scratch, TestServer, wait_until};
use manada_wal::clone::{self, CloneRequest, TransferRate};
use tokio::sync::Notify;

use crate::fixture::{SLOT, block_on, fill, names_in, request, run, source, source_at};
use crate::proxy::{Fault, Proxy};

const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots";

pub(crate) fn a_clone_whose_connection_dies_can_be_run_again(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
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

pub(crate) fn a_clone_that_is_dropped_leaves_nothing(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
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

pub(crate) fn only_our_own_abandoned_clones_are_removed(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
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
