//! A primary all of whose connections are taken.

use std::path::Path;

use manada_herd::{Home, Node};
use manada_postgres::Session;
use manada_testbed::{Outcome, Programs, wait_until};
use tokio::runtime::Runtime;

use super::herd::Protected;

/// More sessions than a server takes by default.
const SESSIONS_MAX: usize = 200;

pub(crate) fn a_primary_without_a_free_connection_is_left_alone() -> Outcome {
    let mut herd = Protected::of_three(&Programs::any()?, "any");
    let started = "SELECT pg_postmaster_start_time()";
    let before = herd.sql("n1", started);
    let crowd = Crowd::before(&herd, "n1");
    let refused = herd.try_sql("n1", started).expect_err("there is no room");
    assert!(refused.contains("too many"), "{refused}");
    // Its agent has kept its session.
    assert_eq!(herd.health("n1", "/primary"), 200);
    herd.kill_agent("n1");
    wait_until("a standby has asked the primary's server itself", || {
        herd.obstacles("n2").contains(&"leader_answers".to_owned())
    });
    drop(crowd);
    herd.start_agent("n1");
    wait_until("the agent leads again", || {
        herd.health("n1", "/primary") == 200
    });
    assert_eq!((herd.epoch("n1"), herd.sql("n1", started)), (1, before));
    Ok(())
}

/// Sessions that take all the room that a server has, also what it keeps for superusers.
struct Crowd {
    sessions: Vec<Session>,
    runtime: Runtime,
}

impl Crowd {
    fn before(herd: &Protected, node: &str) -> Crowd {
        let home = Home::at(Path::new(&herd.home(node))).expect("absolute");
        let node = Node::open(home).expect("a node");
        let mut crowd = Crowd {
            sessions: Vec::new(),
            runtime: Runtime::new().expect("a runtime"),
        };
        while crowd.sessions.len() < SESSIONS_MAX {
            match crowd.runtime.block_on(node.open_superuser()) {
                Ok(session) => crowd.sessions.push(session),
                Err(_) => return crowd,
            }
        }
        panic!("it takes more than {SESSIONS_MAX} sessions");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.sessions.clear();
    }
}
