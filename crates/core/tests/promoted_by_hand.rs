//! What becomes of a server that somebody else than its agent has made a primary.

mod herd;

use herd::{Entry, Herd, Runs, name};
use manada_core::action::{Order, Rung};
use manada_core::obstacle::Obstacle;
use manada_core::policy::Policy;
use manada_core::server::{Enforced, Gate};

/// A number that no client wrote.
const GHOST: u64 = u64::MAX;

/// As `pg_ctl promote` does, and a client that then writes there more than the herd has.
fn promote(herd: &mut Herd, node: &str) {
    let server = &mut herd.host(node).server;
    server.runs = Runs::Primary;
    server.was_primary = true;
    server.follows = None;
    server.recovery_end = server.wal.len();
    server.enforced = Enforced::Policy(Policy::asynchronous());
    server.gate = Gate::Open;
    server.wal.extend([Entry::Commit(GHOST); 9]);
}

#[test]
fn it_is_stopped_and_cloned() {
    let mut herd = Herd::of_three();
    let before = herd.now;
    promote(&mut herd, "b");
    herd.run_until("it is a standby again", |herd| {
        herd.hosts[&name("b")].server.runs == Runs::Standby
    });
    let orders: Vec<&Order> = herd
        .orders_since(before)
        .into_iter()
        .filter_map(|(who, order)| (who == name("b")).then_some(order))
        .collect();
    assert!(
        matches!(
            orders.as_slice(),
            [
                Order::Stop(_),
                Order::ProbeLeader { .. },
                Order::Rejoin {
                    rung: Rung::Clone,
                    ..
                },
                ..
            ]
        ),
        "{orders:?}"
    );
    herd.settle();
    assert!(!herd.host("b").server.wal.contains(&Entry::Commit(GHOST)));
    assert!(herd.is_whole());
}

#[test]
fn it_counts_for_nothing_in_an_election() {
    let mut herd = Herd::of_three();
    herd.host("b").failing = Some(("Rejoin", u32::MAX));
    promote(&mut herd, "b");
    herd.run(100);
    assert!(herd.write("a").is_some());
    herd.run(50);
    assert_eq!(herd.acknowledged.len(), 1, "c has it");
    herd.power_off("a");
    herd.run(10_000);
    assert_ne!(herd.leader(), Some(name("b")));
    let obstacles = herd.host("b").core.obstacles();
    assert!(
        obstacles.contains(&Obstacle::PromotedByHand),
        "{obstacles:?}"
    );
    herd.host("b").failing = None;
    herd.power_on("a");
    herd.settle();
    herd.assert_nothing_lost();
    assert!(!herd.host("b").server.wal.contains(&Entry::Commit(GHOST)));
}
