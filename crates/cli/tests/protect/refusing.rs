//! A store that answers, and refuses.

use manada_testbed::{Outcome, Programs, wait_until};

use super::etcd::Etcd;
use super::herd::Protected;
use super::typed::refused;

pub(crate) fn a_store_that_takes_no_more_is_told_and_obeyed_never_later() -> Outcome {
    let etcd = Etcd::start()?;
    let herd = Protected::with_store(&Programs::any()?, "any", Some(etcd.uri()));
    let started = "SELECT pg_postmaster_start_time()";
    let before = herd.sql("n1", started);
    etcd.be_full(true);
    wait_until("the primary's agent says that the store refuses", || {
        herd.obstacles("n1").contains(&"store_refuses".to_owned())
    });
    for command in ["status", "why"] {
        let said = String::from_utf8(herd.typed("n1", &[command]).stdout).expect("text");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["space exceeded", "etcdctl alarm disarm"] {
            assert!(said.contains(part), "{command} has no {part}: {said}");
        }
    }
    // The primary's agent knows; a standby's has asked the store for nothing, and tries it.
    let (code, error) = refused(&herd.typed("n1", &["pause"]));
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("nothing was changed"), "{error}");
    let (code, error) = refused(&herd.typed("n2", &["pause"]));
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("nobody tries it any further"), "{error}");
    herd.sql("n1", "CREATE TABLE written AS SELECT 1");

    etcd.be_full(false);
    wait_until("it refuses no more", || {
        !herd.obstacles("n1").contains(&"store_refuses".to_owned())
    });
    // What that agent wanted before would be written first.
    let changed = herd.typed("n2", &["sync", "any", "2"]);
    assert!(changed.status.success(), "{changed:?}");
    for node in ["n1", "n2"] {
        let obstacles = herd.obstacles(node);
        assert!(!obstacles.contains(&"paused".to_owned()), "{obstacles:?}");
    }
    assert_eq!((herd.epoch("n1"), herd.sql("n1", started)), (1, before));
    Ok(())
}
