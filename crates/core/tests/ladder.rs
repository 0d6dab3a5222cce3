//! How a node's data is brought back, and what comes after a rung that did not help.

mod herd;

use herd::{Herd, Runs, name, server};
use manada_core::action::{Order, Rung};
use manada_core::input::Outcome;
use manada_core::obstacle::Obstacle;
use manada_core::record::WhenShort;
use manada_core::standing::StandingKind;

/// When which means was tried.
fn rungs(herd: &Herd) -> Vec<(u64, Rung)> {
    let journal = herd.journal.iter();
    let rejoin = journal.filter_map(|(when, _, action)| match &action.order {
        Order::Rejoin { rung, .. } => Some((*when, *rung)),
        _ => None,
    });
    rejoin.collect()
}

#[test]
fn data_that_never_starts_goes_up_the_ladder_with_growing_pauses() {
    let mut herd = Herd::of_three();
    herd.host("c").failing = Some(("StartStandby", u32::MAX));
    herd.kill_server("c");
    herd.run_until("it is said that it does not start", |herd| {
        let obstacles = herd.hosts[&name("c")].core.obstacles();
        obstacles.contains(&Obstacle::StartFails {
            failures: 2,
            trouble: None,
        })
    });
    herd.run(1_200_000);
    let tried = rungs(&herd);
    let means: Vec<Rung> = tried.iter().map(|(_, rung)| *rung).collect();
    let (rewinds, clones) = means.split_at(2);
    assert_eq!(rewinds, [Rung::Rewind; 2]);
    assert!(clones.len() >= 3, "{tried:?}");
    assert!(clones.iter().all(|rung| *rung == Rung::Clone), "{tried:?}");
    let seen = (StandingKind::Following, StandingKind::Stuck);
    assert!(herd.changes.contains(&seen), "{:?}", herd.changes);
}

#[test]
fn a_server_that_something_around_it_keeps_from_starting_keeps_its_data() {
    let mut herd = Herd::of_three();
    herd.host("c").failing = Some(("StartStandby", u32::MAX));
    herd.host("c").fails_with = Outcome::Hindered;
    herd.kill_server("c");
    herd.run(1_200_000);
    assert_eq!(rungs(&herd), []);
    // The longest pause is one of seconds: who has mended it does not wait for long.
    let started = herd.journal.iter().filter(|(_, node, action)| {
        *node == name("c") && matches!(action.order, Order::StartStandby { .. })
    });
    assert!(started.count() > 100);
    // Its data may be broken all the same, which is seen when nothing else is in the way.
    herd.host("c").fails_with = Outcome::Failed;
    let mended = herd.now;
    herd.run(20_000);
    assert_eq!(rungs(&herd), []);
    herd.run_until("its data is brought back", |herd| !rungs(herd).is_empty());
    assert!(herd.now - mended < 120_000);
}

#[test]
fn no_try_is_spent_on_a_leader_without_room() {
    let mut herd = Herd::of_three();
    herd.host("a").is_full = true;
    herd.host("c").failing = Some(("StartStandby", u32::MAX));
    herd.kill_server("c");
    herd.run(600_000);
    assert_eq!(rungs(&herd), []);
    herd.host("a").is_full = false;
    herd.run_until("its data is brought back", |herd| !rungs(herd).is_empty());
}

#[test]
fn a_server_that_starts_again_in_time_keeps_its_data() {
    let mut herd = Herd::of_three();
    herd.host("c").failing = Some(("StartStandby", 6));
    herd.kill_server("c");
    herd.settle();
    assert_eq!(rungs(&herd), []);
}

#[test]
fn a_leader_that_starts_for_ever_makes_way_for_those_who_have_every_commit() {
    let mut herd = Herd::of_three();
    let written = herd.write("a").expect("a takes writes");
    herd.run(100);
    // Nobody could take over for a while, so it starts in place and resigns in nobody's favour.
    herd.power_off("b");
    herd.power_off("c");
    herd.run(30_000);
    herd.host("a").starts_for_ever = true;
    herd.kill_server("a");
    herd.run_until("it starts in place", |herd| {
        herd.hosts[&name("a")].server.runs == Runs::Starts
    });
    herd.power_on("b");
    herd.power_on("c");
    herd.run(10_000);
    assert_eq!(herd.record.value.leader, Some(name("a")), "{}", herd.tail());
    herd.run_until("another leads", |herd| {
        herd.leader().is_some_and(|leader| leader != name("a"))
    });
    assert!(herd.acknowledged.contains(&written));
    herd.assert_nothing_lost();
}

#[test]
fn an_asynchronous_leader_that_starts_for_long_is_waited_for() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    herd.host("a").starts_for_ever = true;
    herd.kill_server("a");
    herd.run(50_000);
    assert_eq!(herd.record.value.leader, Some(name("a")), "{}", herd.tail());
}
