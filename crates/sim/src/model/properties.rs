//! What must hold in every state, and what must be reachable.

use manada_core::policy::Policy;
use manada_core::record::{MemberRole, Mode, Record};
use manada_core::server::Gate;
use manada_core::timer::Timer;
use stateright::Property;

use super::{HerdModel, State};
use crate::world::{Entry, Fate, HostId, Run};

/// Something that has to come about on some path: else a case would show nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Another leads, its gate open.
    Failover,
    /// And it has what was acknowledged by the one before it.
    WriteOutlives,
    /// And it has a write of which its client knows nothing.
    DoubtKept,
    /// And it lacks one.
    DoubtDiscarded,
    /// And it lacks one that was acknowledged while commits waited for nobody.
    LossTaken,
    /// A leader whose server died, and that nobody replaced, has its gate open again.
    StartedInPlace,
    /// A former leader follows, its own WAL gone.
    Rejoined,
    /// Only the witness has an acknowledged write.
    WitnessAhead,
    /// Another leads with WAL that it has from the witness.
    WalHandedOver,
    /// A policy was published, put in force, and is published alone.
    PolicyChanged,
    /// Commits wait for nobody since the standby is away.
    Degraded,
    /// They wait for it again.
    Rearmed,
    /// Another leads with WAL that was shut down cleanly.
    SwitchedOver,
    /// The leader of a paused herd is dead, and who waited for its lease has done nothing.
    PauseHeld,
}

/// All of them, by the numbers of the design, and the goals of the case.
pub(super) fn all(goals: &[Goal]) -> Vec<Property<HerdModel>> {
    fn holds(state: &State, invariant: u8) -> bool {
        let violation = state.world.ledger.violation.as_ref();
        violation.is_none_or(|violation| violation.invariant() != invariant)
    }
    let mut properties = vec![
        Property::always("I1 nothing acknowledged is lost", |_, s| holds(s, 1)),
        Property::always("I2 one leader in an epoch", |_, s| holds(s, 2)),
        Property::always("I3 nothing acknowledged below a recruited epoch", |_, s| {
            holds(s, 3)
        }),
        Property::always("I4 the policy in force is published", |_, s| holds(s, 4)),
        Property::always("I5 nothing shown is lost", |_, s| holds(s, 5)),
        Property::always("I6 promises are kept", |_, s| holds(s, 6)),
        Property::always("I7 an archive object is written once", |_, s| holds(s, 7)),
        Property::always("I8 who follows continues its leader's WAL", |_, s| {
            holds(s, 8)
        }),
    ];
    properties.extend(goals.iter().map(|goal: &Goal| goal.property()));
    properties
}

impl Goal {
    fn property(self) -> Property<HerdModel> {
        match self {
            Goal::Failover => {
                Property::sometimes("a failover completes", |_, s| new_leader(s).is_some())
            }
            Goal::WriteOutlives => {
                Property::sometimes("an acknowledged write outlives its leader", |_, s| {
                    new_leader(s).is_some_and(|leader| has(s, leader, Fate::Acknowledged, true))
                })
            }
            Goal::DoubtKept => Property::sometimes("a write in doubt is kept", |_, s| {
                new_leader(s).is_some_and(|leader| has(s, leader, Fate::Unknown, true))
            }),
            Goal::DoubtDiscarded => Property::sometimes("a write in doubt is discarded", |_, s| {
                new_leader(s).is_some_and(|leader| has(s, leader, Fate::Unknown, false))
            }),
            Goal::LossTaken => Property::sometimes("a loss within the bound is taken", |_, s| {
                new_leader(s).is_some_and(|leader| has(s, leader, Fate::Unguarded, false))
            }),
            Goal::StartedInPlace => {
                Property::sometimes("a leader starts in place", |_, s| started_in_place(s))
            }
            Goal::Rejoined => {
                Property::sometimes("a leader whose WAL has diverged rejoins", |_, s| {
                    rejoined(s)
                })
            }
            Goal::WitnessAhead => {
                Property::sometimes("only the witness has an acknowledged write", |_, s| {
                    only_witnesses_have(s)
                })
            }
            Goal::WalHandedOver => Property::sometimes(
                "the witness hands its WAL to the new leader",
                |_, s: &State| s.spent.fetched && new_leader(s).is_some(),
            ),
            Goal::PolicyChanged => {
                Property::sometimes("a change of the policy completes", policy_changed)
            }
            Goal::Degraded => Property::sometimes("commits wait for nobody for a while", degraded),
            Goal::Rearmed => Property::sometimes("commits wait again", rearmed),
            Goal::SwitchedOver => {
                Property::sometimes("a switchover completes", |_, s| switched_over(s))
            }
            Goal::PauseHeld => Property::sometimes("a pause holds", |_, s| pause_holds(s)),
        }
    }
}

fn record(state: &State) -> &Record {
    &state.world.store.record.value
}

/// Who leads, with its gate open.
fn leader(state: &State) -> Option<HostId> {
    let world = &state.world;
    let leader = world.herd.host(record(state).leader.as_ref()?);
    let server = world.server(leader);
    (server.primary().is_some() && server.gate == Gate::Open).then_some(leader)
}

/// The same, beyond the first epoch.
fn new_leader(state: &State) -> Option<HostId> {
    leader(state).filter(|_| record(state).epoch.0 > 1)
}

/// Whether that leader has, or lacks, a write of that fate.
fn has(state: &State, leader: HostId, fate: Fate, has: bool) -> bool {
    let wal = &state.world.server(leader).wal;
    let mut writes = state.world.ledger.iter();
    writes.any(|(_, written)| written.fate == fate && wal.contains(written.mark) == has)
}

fn started_in_place(state: &State) -> bool {
    leader(state).is_some_and(|leader| {
        let entries = state.world.server(leader).wal.entries_from(0);
        let recoveries = entries.filter(|entry| matches!(entry, Entry::Recovery(_)));
        record(state).epoch.0 == 1 && recoveries.count() > 1
    })
}

fn rejoined(state: &State) -> bool {
    let world = &state.world;
    new_leader(state).is_some_and(|leader| {
        world.herd.hosts().any(|host| {
            world.server(host).receives() == Some(leader)
                && world.ledger.last_reign_of(host).is_some()
                && world.host(host).promise.led.is_none()
        })
    })
}

fn only_witnesses_have(state: &State) -> bool {
    let world = &state.world;
    let has = |host: HostId, witness: bool| {
        let role = world.herd.roles[usize::from(host.0)];
        let runs = world.server(host).run != Run::Stopped;
        runs && (role == MemberRole::Witness) == witness
    };
    let mut writes = world.ledger.iter();
    writes.any(|(_, written)| {
        let holds = |host: &HostId| world.server(*host).wal.contains(written.mark);
        let mut servers = world.herd.hosts().filter(|host| has(*host, false));
        written.fate == Fate::Acknowledged && !servers.any(|host| holds(&host))
    }) && world.herd.hosts().any(|host| has(host, true))
}

/// The only published policy, if its leader is that of the first epoch, its gate open.
fn settled(state: &State) -> Option<&Policy> {
    let record = record(state);
    let first = leader(state).filter(|_| record.epoch.0 == 1);
    match (first, record.policies.as_slice()) {
        (Some(_), [published]) => Some(&published.policy),
        _ => None,
    }
}

fn policy_changed(model: &HerdModel, state: &State) -> bool {
    let first = model.bounds.record(&model.herd);
    settled(state).is_some_and(|policy| {
        policy.is_synchronous() && first.policies.iter().all(|former| former.policy != *policy)
    })
}

fn degraded(model: &HerdModel, state: &State) -> bool {
    let in_force = leader(state).is_some_and(|leader| {
        let primary = state.world.server(leader).primary();
        primary.is_some_and(|primary| !primary.defined)
    });
    model.bounds.count > 0
        && in_force
        && settled(state).is_some_and(|policy| !policy.is_synchronous())
}

fn rearmed(model: &HerdModel, state: &State) -> bool {
    let first = model.bounds.record(&model.herd);
    let ruled = leader(state).is_some_and(|leader| state.world.server(leader).wal.rule().sub > 0);
    ruled
        && settled(state)
            .is_some_and(|policy| first.policies.iter().all(|former| former.policy == *policy))
}

fn switched_over(state: &State) -> bool {
    new_leader(state).is_some_and(|leader| {
        let mut entries = state.world.server(leader).wal.entries_from(0);
        entries.any(|entry| matches!(entry, Entry::Shutdown(_)))
    })
}

fn pause_holds(state: &State) -> bool {
    let world = &state.world;
    let record = record(state);
    let Some(leader) = record.leader.as_ref().map(|name| world.herd.host(name)) else {
        return false;
    };
    let waited = |host: HostId| {
        world.agent(host).is_some_and(|agent| {
            let knows = agent.core.record().map(|known| &known.value) == Some(record);
            knows && !agent.core.timers().contains_key(&Timer::LeaseLapsed)
        })
    };
    record.mode == Mode::Paused
        && world.server(leader).run == Run::Stopped
        && world
            .herd
            .hosts()
            .any(|host| host != leader && waited(host))
}
