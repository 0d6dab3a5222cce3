//! Faults made to measure: for each guard of the core the accident in which it is needed.

use std::time::Duration;

use manada_core::guards::Guard;
use manada_core::input::Command;
use manada_core::record::{Desired, WhenShort};
use manada_model::{NodeName, SyncMethod};

use super::events::Simulation;
use super::fault::Fault;
use super::life::Life;
use crate::world::{HostId, Violation};

/// An accident.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The guard by which nothing comes of it.
    pub guard: Guard,
    /// In words.
    pub accident: &'static str,
    /// How many servers, witnesses, and standbys that commits wait for.
    herd: (u16, u16, u32),
    /// The longest pause between two writes, in milliseconds.
    write_pause: u64,
    /// What happens, and after how many milliseconds.
    faults: Vec<(u64, Fault)>,
}

const A: HostId = HostId(0);
const B: HostId = HostId(1);
const C: HostId = HostId(2);
const D: HostId = HostId(3);

/// How often an accident is lived through: its moments differ.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=100;

/// How long the herd has peace before, and is watched after.
const PEACE: Duration = Duration::from_secs(5);

/// The page's beginning.
const PAGE: &str = "# What happens without each guard

Made by `cargo xtask docs`. Each condition on which safety rests (`crates/core/src/guards.rs`) is \
left out in turn, in a simulated herd to which that accident happens. `crates/sim/tests/guards.rs` \
fails where nothing breaks, and where something breaks although no guard is left out.

Each step is judged: *breaks* is the first one that should not have been. *Harm* is what comes of it \
in the same accident where only that is judged: a commit that was acknowledged is gone, a client saw \
what is gone, two primaries acknowledge, a standby follows WAL that is not its own.

| without | when | breaks | harm |
| --- | --- | --- | --- |
";

impl Trial {
    /// Lives through it by that seed, without its guard if so said; what broke.
    pub fn run(&self, seed: u64, guarded: bool, harm_only: bool) -> Option<Violation> {
        let (servers, witnesses, count) = self.herd;
        let mut life = Life {
            harm_only,
            ..Life::of(servers, witnesses, count, seed)
        };
        if self.guard == Guard::PublishBeforeEnforce {
            life.desired.when_short = WhenShort::Degrade;
        }
        let life = if guarded {
            life
        } else {
            life.without(self.guard)
        };
        let mut simulation: Simulation = life.simulation();
        simulation.write_pause = self.write_pause;
        simulation.run_until(PEACE);
        let faults: Vec<_> = self
            .faults
            .iter()
            .map(|(after, fault)| (Duration::from_millis(*after), fault.clone()))
            .collect();
        simulation.endure(&faults);
        let end = simulation.now + PEACE;
        simulation.run_until(end);
        simulation.world.ledger.violation.clone()
    }

    /// What breaks first without the guard.
    pub fn noticed(&self) -> Option<Violation> {
        SEEDS
            .into_iter()
            .find_map(|seed| self.run(seed, false, false))
    }

    /// Who comes to harm without the guard, if no step on the way there ends the trial.
    pub fn harms(&self) -> Option<Violation> {
        SEEDS
            .into_iter()
            .find_map(|seed| self.run(seed, false, true))
    }

    /// The page of guards, accidents and what then breaks.
    pub fn page() -> String {
        let mut page = String::from(PAGE);
        let name = |violation: &Violation| {
            let text = format!("{violation:?}");
            let end = text.find(|c: char| !c.is_alphanumeric());
            text[..end.unwrap_or(text.len())].to_owned()
        };
        for guard in Guard::ALL {
            let trial = Trial::of(guard);
            let step = trial.noticed().map_or_else(
                || "nothing".to_owned(),
                |broken| format!("I{} `{}`", broken.invariant(), name(&broken)),
            );
            let harm = trial.harms().map_or_else(
                || "not seen".to_owned(),
                |broken| format!("`{}`", name(&broken)),
            );
            page.push_str(&format!(
                "| `{guard:?}` | {} | {step} | {harm} |\n",
                trial.accident
            ));
        }
        page
    }

    /// One for each guard.
    pub fn of(guard: Guard) -> Trial {
        let long = Duration::from_secs(20);
        let failover = |host| {
            let command = Command::Failover {
                to: None,
                allow_loss: None,
            };
            Fault::Command(host, command)
        };
        let (accident, herd, write_pause, faults) = match guard {
            Guard::CoverEveryPolicy => (
                "the leader is cut off together with the standby that acknowledged",
                (3, 0, 1),
                200,
                vec![(0, Fault::Isolate(A, long)), (0, Fault::Isolate(C, long))],
            ),
            Guard::HighestRuleFirst => (
                "a leader that was cut off comes back with much WAL of its own, and the next one dies",
                (3, 0, 1),
                20,
                vec![
                    (0, Fault::Isolate(A, Duration::from_millis(4500))),
                    (4300, Fault::PowerLoss(B, long)),
                ],
            ),
            Guard::PersistBeforeSaying => (
                "a recruit that can't sync its promise loses its power, and reads an old record when it is back; the former leader knows nothing of all that",
                (3, 0, 1),
                400,
                forgetful_recruit(vec![(0, Fault::SyncFails(C, Duration::from_secs(1)))]),
            ),
            Guard::NeverFollowBelowPromise => (
                "a recruit loses its power, and reads an old record when it is back; the former leader knows nothing of all that",
                (3, 0, 1),
                400,
                forgetful_recruit(Vec::new()),
            ),
            Guard::PersistBeforePromoting | Guard::StopRecruitedLeader => (
                "an operator wants a failover while the leader is well",
                (3, 0, 1),
                20,
                vec![(0, failover(B))],
            ),
            Guard::CatchUpBeforeOpening => (
                "a leader's server dies when nobody can take over, is started in place, and dies with its host before the others are back",
                (3, 0, 1),
                100,
                vec![
                    (0, Fault::PowerLoss(B, Duration::from_secs(12))),
                    (0, Fault::PowerLoss(C, Duration::from_secs(12))),
                    (300, Fault::KillServer(A)),
                    (11_000, Fault::PowerLoss(A, long)),
                ],
            ),
            Guard::StopReceivingBeforeAnswer => (
                "a recruit can't be made to stop receiving",
                (3, 0, 1),
                100,
                vec![
                    (0, Fault::OrdersFail(C, Duration::from_secs(3))),
                    (10, failover(B)),
                ],
            ),
            Guard::PlaceholderUntilRule => (
                "sessions that were open on the standby write as soon as it is promoted",
                (3, 0, 1),
                2,
                vec![(0, failover(B))],
            ),
            Guard::PublishBeforeEnforce => (
                "two of three standbys are lost, then the store from the leader, just before it would ask for fewer; the two come back apart from the rest",
                (4, 0, 2),
                50,
                vec![
                    (0, Fault::PowerLoss(B, Duration::from_millis(5500))),
                    (0, Fault::PowerLoss(C, Duration::from_millis(5500))),
                    (0, Fault::Part(A, B, long)),
                    (0, Fault::Part(A, C, long)),
                    (0, Fault::Part(D, B, long)),
                    (0, Fault::Part(D, C, long)),
                    (4900, Fault::StoreUnreachable(A, long)),
                    (4900, Fault::StoreUnreachable(D, long)),
                ],
            ),
            Guard::ConfirmBeforeEnforce => (
                "the leader's agent dies after commits were made to wait for both standbys, reads an old record, and loses the store; it dies with the standby that went on",
                (3, 0, 1),
                50,
                vec![
                    (0, wait_for_both()),
                    (2500, Fault::Stall(C, Duration::from_millis(1200))),
                    (2500, Fault::KillAgent(A)),
                    (2501, Fault::StoreUnreachable(A, long)),
                    (3500, Fault::PowerLoss(A, Duration::from_secs(8))),
                    (3500, Fault::PowerLoss(B, Duration::from_secs(8))),
                ],
            ),
            Guard::PublishUntilRule => (
                "commits shall wait for a standby that stands still, and all others die",
                (3, 0, 1),
                20,
                alone_with(0),
            ),
            Guard::EnforceBeforeRule => (
                "commits shall wait for a standby that stands still as soon as it has the rule, and all others die",
                (3, 0, 1),
                20,
                alone_with(200),
            ),
            Guard::PublishMixture => (
                "walsenders read a new policy at different times, and the leader dies together with the standby of which not all know yet that it counts no more",
                (4, 0, 2),
                2,
                vec![
                    (0, Fault::SlowReloads(Duration::from_secs(3))),
                    (0, one_of(&["s0001", "s0002"])),
                    (1990, Fault::Stall(B, Duration::from_millis(100))),
                    (1990, Fault::Stall(C, Duration::from_millis(100))),
                    (2000, Fault::PowerLoss(A, Duration::from_secs(6))),
                    (2000, Fault::PowerLoss(D, Duration::from_secs(6))),
                ],
            ),
            Guard::FollowOnlyOwnHistory => (
                "a leader is cut off, and comes back when another leads",
                (3, 0, 1),
                50,
                vec![(0, Fault::Isolate(A, Duration::from_secs(8)))],
            ),
            Guard::NeverLeads => (
                "only the witness and one server are left",
                (2, 1, 1),
                20,
                vec![
                    (0, Fault::OneWay(A, B, Duration::from_secs(9))),
                    (200, Fault::PowerLoss(A, long)),
                ],
            ),
            Guard::LapseBeforeLoss => (
                "an operator wants a failover while an asynchronous leader is cut off",
                (3, 0, 0),
                50,
                vec![
                    (0, Fault::Isolate(A, Duration::from_secs(9))),
                    (10, failover(B)),
                ],
            ),
            Guard::WithdrawResignation => (
                "an asynchronous leader hands over to a standby that stands still, and starts in place; it is cut off when the standby goes on",
                (2, 0, 0),
                20,
                vec![
                    (0, Fault::Command(A, Command::Switchover { to: None })),
                    (40, Fault::Stall(B, Duration::from_secs(8))),
                    (8041, Fault::Isolate(A, Duration::from_secs(5))),
                ],
            ),
            Guard::BoundLoss => (
                "an asynchronous leader dies whose standbys had not heard of it for long",
                (3, 0, 0),
                50,
                vec![
                    (0, Fault::OneWay(A, B, Duration::from_secs(9))),
                    (0, Fault::OneWay(A, C, Duration::from_secs(9))),
                    (5000, Fault::PowerLoss(A, long)),
                ],
            ),
        };
        Trial {
            guard,
            accident,
            herd,
            write_pause,
            faults,
        }
    }
}

/// An operator wants commits to wait for one of these.
fn one_of(names: &[&str]) -> Fault {
    let name = |name: &&str| name.parse().expect("a letter and digits are a name");
    wait_for(1, Some(names.iter().map(name).collect()))
}

/// An operator wants commits to wait for two of two.
fn wait_for_both() -> Fault {
    wait_for(2, None)
}

fn wait_for(count: u32, standbys: Option<Vec<NodeName>>) -> Fault {
    let desired = Desired {
        method: SyncMethod::Any,
        count,
        standbys,
        when_short: WhenShort::Block,
    };
    Fault::Command(A, Command::SetPolicy(desired))
}

/// Commits shall wait for the second alone, which stands still from that millisecond on; settings
/// are read late, and the other two die.
fn alone_with(stalls: u64) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::SlowReloads(Duration::from_secs(5))),
        (0, one_of(&["s0001"])),
        (stalls, Fault::Stall(B, Duration::from_secs(6))),
        (5000, Fault::PowerLoss(A, Duration::from_secs(8))),
        (5000, Fault::PowerLoss(C, Duration::from_secs(8))),
    ]
}

/// The third has answered the second, which does not get on because it does not reach the store;
/// it loses its power, and comes back to what was, apart from all but the former leader.
fn forgetful_recruit(besides: Vec<(u64, Fault)>) -> Vec<(u64, Fault)> {
    let apart = Duration::from_secs(8);
    let mut faults = vec![
        (0, Fault::StoreUnreachable(A, apart)),
        (0, Fault::Part(A, B, apart)),
        (
            0,
            Fault::Command(
                B,
                Command::Failover {
                    to: None,
                    allow_loss: None,
                },
            ),
        ),
        (60, Fault::StoreUnreachable(B, Duration::from_secs(1))),
        (300, Fault::PowerLoss(C, Duration::from_millis(20))),
        (321, Fault::StoreUnreachable(C, apart)),
        (321, Fault::Part(B, C, apart)),
    ];
    faults.extend(besides);
    faults
}
