//! A clone is the server that it was made of.

use manada_testbed::{Outcome, Programs, TestServer};

use crate::fixture::{run, standby_request};

const DIGEST: &str =
    "SELECT count(*) || ' ' || md5(string_agg(md5(t::text), '' ORDER BY id)) FROM t";

pub(crate) fn a_clone_boots_as_a_standby_and_is_equal(programs: Programs) -> Outcome {
    let primary = TestServer::start(&programs);
    primary.query("CREATE TABLE t AS SELECT i AS id, repeat('x', i % 1000) AS text FROM generate_series(1, 20000) i");
    let mut report = None;
    let standby = TestServer::with(&programs).start_made_by(primary.password(), |data| {
        report = Some(run(standby_request(&primary, data)).expect("the clone succeeds"));
    });
    let report = report.expect("it was made");
    assert!(report.files > 500, "{report:?}");
    primary.query("INSERT INTO t SELECT i, 'later' FROM generate_series(20001, 20100) i");
    let expected = primary.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    assert_eq!(standby.value("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(
        primary.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'clone_slot'"),
        "t"
    );
    Ok(())
}
