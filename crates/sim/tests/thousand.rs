//! A herd of a thousand: what it asks of its store.

use std::time::Duration;

use manada_core::position::Epoch;
use manada_sim::simulation::{Fault, Life};
use manada_sim::world::HostId;

/// How long each herd is watched, a failover in the midst.
const WATCHED: Duration = Duration::from_secs(10);

/// By how many percent what a node of one herd asks of the store may differ from that of another.
const TOLERANCE_PERCENT: u64 = 20;

/// How many requests reach the store in that time, of a herd of so many whose leader is lost.
fn requests(nodes: u16) -> u64 {
    let mut simulation = Life::of(nodes, 0, 1, 1).simulation();
    simulation.write_pause = 2000;
    simulation.run_until(Duration::from_secs(3));
    let before = simulation.store_requests;
    let end = simulation.now + WATCHED;
    simulation.endure(&[(Duration::ZERO, Fault::PowerLoss(HostId(0), WATCHED / 2))]);
    simulation.run_until(end);
    assert_eq!(simulation.world.ledger.violation, None);
    assert!(simulation.world.store.record.value.epoch > Epoch(1));
    assert!(simulation.is_whole(), "{nodes} nodes");
    simulation.store_requests - before
}

#[test]
fn the_stores_traffic_grows_with_the_nodes_and_no_faster() {
    let of_one = |nodes: u16| requests(nodes) / u64::from(nodes);
    let (hundred, thousand) = (of_one(100), of_one(1000));
    let within = |one: u64, other: u64| one * 100 <= other * (100 + TOLERANCE_PERCENT);
    assert!(
        within(thousand, hundred) && within(hundred, thousand),
        "{hundred} requests a node in a herd of 100, {thousand} in one of 1000"
    );
}
