//! Named faults, in simulated time.

use std::time::Duration;

use manada_core::input::Command;
use manada_core::position::Epoch;
use manada_core::record::{Desired, WhenShort};
use manada_model::SyncMethod;
use manada_sim::simulation::{Fault, Life, Simulation};
use manada_sim::world::HostId;

const LEADER: HostId = HostId(0);
const STANDBY: HostId = HostId(1);

/// Three servers, commits wait for one of two.
fn herd(seed: u64) -> Simulation {
    let mut simulation = Life::of(3, 0, 1, seed).simulation();
    simulation.run_until(Duration::from_secs(10));
    assert!(simulation.is_whole());
    simulation
}

/// The same fault at a hundred different moments.
fn suffer(faults: &[(Duration, Fault)], check: impl Fn(&Simulation)) {
    for seed in 1..=100 {
        let mut simulation = herd(seed);
        simulation.endure(faults);
        let end = simulation.now + Duration::from_secs(30);
        simulation.run_until(end);
        assert_eq!(simulation.world.ledger.violation, None, "seed {seed}");
        assert!(simulation.is_whole(), "seed {seed}");
        check(&simulation);
    }
}

fn epoch(simulation: &Simulation) -> Epoch {
    simulation.world.store.record.value.epoch
}

const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn a_standby_takes_over_when_the_leaders_host_is_lost() {
    let lost = Fault::PowerLoss(LEADER, Duration::from_secs(20));
    suffer(&[(AT_ONCE, lost)], |simulation| {
        assert!(epoch(simulation) > Epoch(1));
    });
}

#[test]
fn a_leader_whose_server_is_killed_makes_way() {
    suffer(&[(AT_ONCE, Fault::KillServer(LEADER))], |simulation| {
        assert!(epoch(simulation) > Epoch(1));
    });
}

#[test]
fn a_stall_of_a_second_and_a_half_causes_no_failover() {
    for host in [LEADER, STANDBY] {
        let stall = Fault::Stall(host, Duration::from_millis(1500));
        suffer(&[(AT_ONCE, stall)], |simulation| {
            assert_eq!(epoch(simulation), Epoch(1));
        });
    }
}

#[test]
fn losing_the_store_demotes_no_leader_that_hears_its_quorum() {
    let lost = Fault::StoreLoss(Duration::from_secs(60));
    suffer(&[(AT_ONCE, lost)], |simulation| {
        assert_eq!(epoch(simulation), Epoch(1));
    });
}

#[test]
fn a_herd_whose_record_is_lost_is_taken_up_again_without_a_pause() {
    let lost = Fault::RecordLoss(None, Duration::from_secs(10));
    suffer(&[(AT_ONCE, lost)], |simulation| {
        assert_eq!(epoch(simulation), Epoch(1));
        assert_eq!(simulation.world.store.record.value.recoveries, 1);
    });
}

#[test]
fn a_paused_herd_that_was_taken_up_again_without_its_leaders_server_resumes() {
    suffer(
        &[
            (AT_ONCE, Fault::Pause(LEADER, Duration::from_secs(8))),
            (
                Duration::from_secs(1),
                Fault::RecordLoss(None, Duration::from_secs(5)),
            ),
            (Duration::from_secs(3), Fault::KillServer(LEADER)),
        ],
        |_| {},
    );
}

#[test]
fn a_killed_agent_causes_no_failover() {
    suffer(&[(AT_ONCE, Fault::KillAgent(LEADER))], |simulation| {
        assert_eq!(epoch(simulation), Epoch(1));
    });
}

#[test]
fn a_switchover_ends_at_the_one_that_was_named() {
    let to = herd(1).world.herd.name(STANDBY).clone();
    let command = Command::Switchover {
        to: Some(to.clone()),
    };
    let switchover = Fault::Command(LEADER, command);
    suffer(&[(AT_ONCE, switchover)], |simulation| {
        let record = &simulation.world.store.record.value;
        assert_eq!(record.leader.as_ref(), Some(&to));
    });
}

#[test]
fn a_rejoin_that_another_election_overtakes_is_tried_again_soon() {
    let failover = |host| {
        let command = Command::Failover {
            to: None,
            allow_loss: None,
        };
        Fault::Command(host, command)
    };
    for seed in 1..=100 {
        let mut simulation = herd(seed);
        simulation.run_until(Duration::from_secs(60));
        simulation.endure(&[
            (AT_ONCE, Fault::Isolate(LEADER, Duration::from_secs(6))),
            (Duration::from_millis(7000), failover(STANDBY)),
            (Duration::from_millis(8000), failover(HostId(2))),
        ]);
        // A rewind takes three seconds at most, and so does the pause after one that failed.
        let end = simulation.now + Duration::from_secs(15);
        simulation.run_until(end);
        assert_eq!(simulation.world.ledger.violation, None, "seed {seed}");
        assert!(simulation.is_whole(), "seed {seed}");
    }
}

#[test]
fn a_leader_whose_commits_are_only_about_to_wait_stops_with_its_lease() {
    let wait = Command::SetPolicy(Desired {
        method: SyncMethod::Any,
        count: 1,
        standbys: None,
        when_short: WhenShort::Block,
    });
    for seed in 1..=20 {
        let mut simulation = Life::of(4, 0, 0, seed).simulation();
        simulation.run_until(Duration::from_secs(10));
        simulation.endure(&[
            (AT_ONCE, Fault::SlowReloads(Duration::from_secs(5))),
            (AT_ONCE, Fault::Command(LEADER, wait.clone())),
            (
                Duration::from_millis(300),
                Fault::Isolate(LEADER, Duration::from_secs(8)),
            ),
        ]);
        let end = simulation.now + Duration::from_secs(30);
        simulation.run_until(end);
        assert_eq!(simulation.world.ledger.violation, None, "seed {seed}");
        assert!(epoch(&simulation) > Epoch(1), "seed {seed}");
        assert!(simulation.is_whole(), "seed {seed}");
    }
}
