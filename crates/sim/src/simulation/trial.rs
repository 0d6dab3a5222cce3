//! Faults made to measure: for each guard of the core the accident in which it is needed.

use std::time::Duration;

use manada_core::guards::Guard;
use manada_core::input::Command;

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

/// How often an accident is lived through: its moments differ.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=100;

/// How long the herd has peace before, and is watched after.
const PEACE: Duration = Duration::from_secs(5);

impl Trial {
    /// Lives through it by that seed, without its guard if so said; what broke.
    pub fn run(&self, seed: u64, guarded: bool) -> Option<Violation> {
        let (servers, witnesses, count) = self.herd;
        let life = Life::of(servers, witnesses, count, seed);
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

    /// What breaks without the guard, and with which seed first.
    pub fn noticed(&self) -> Option<(u64, Violation)> {
        SEEDS
            .into_iter()
            .find_map(|seed| Some((seed, self.run(seed, false)?)))
    }

    /// The page of guards, accidents and what then breaks.
    pub fn page() -> String {
        let mut page = String::from(
            "# What happens without each guard\n\n\
             Made by `cargo xtask docs`. Each condition on which safety rests \
             (`crates/core/src/guards.rs`) is left out in turn, in a simulated herd to which that \
             accident happens; `crates/sim/tests/guards.rs` fails where nothing breaks, and where \
             something breaks although no guard is left out.\n\n\
             | without | when | breaks | as |\n| --- | --- | --- | --- |\n",
        );
        for guard in Guard::ALL {
            let trial = Trial::of(guard);
            let (invariant, how) =
                trial
                    .noticed()
                    .map_or((0, "nothing".to_owned()), |(_, broken)| {
                        let name = format!("{broken:?}");
                        let end = name.find(|c: char| !c.is_alphanumeric());
                        (
                            broken.invariant(),
                            name[..end.unwrap_or(name.len())].to_owned(),
                        )
                    });
            page.push_str(&format!(
                "| `{guard:?}` | {} | I{invariant} | `{how}` |\n",
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
            Guard::PersistBeforeSaying
            | Guard::PersistBeforePromoting
            | Guard::StopRecruitedLeader
            | Guard::PublishUntilRule => (
                "an operator wants a failover while the leader is well",
                (3, 0, 1),
                20,
                vec![(0, failover(B))],
            ),
            Guard::CatchUpBeforeOpening => (
                "a leader's server dies when nobody can take over",
                (3, 0, 1),
                100,
                vec![
                    (0, Fault::PowerLoss(B, Duration::from_secs(12))),
                    (0, Fault::PowerLoss(C, Duration::from_secs(12))),
                    (300, Fault::KillServer(A)),
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
            Guard::NeverFollowBelowPromise => (
                "a recruit's agent is started anew, and reads an old record",
                (3, 0, 1),
                100,
                vec![
                    (0, Fault::OneWay(B, C, Duration::from_millis(10))),
                    (0, failover(B)),
                    (40, Fault::KillAgent(C)),
                    (60, Fault::KillAgent(C)),
                    (80, Fault::KillAgent(C)),
                ],
            ),
            Guard::PlaceholderUntilRule => (
                "sessions that were open on the standby write as soon as it is promoted",
                (3, 0, 1),
                2,
                vec![(0, failover(B))],
            ),
            Guard::PublishBeforeEnforce | Guard::EnforceBeforeRule => (
                "a standby is away for long, and comes back",
                (3, 0, 1),
                100,
                vec![(0, Fault::PowerLoss(C, Duration::from_secs(8)))],
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
