//! What must hold in every state, and what must be reachable.

use manada_core::server::Gate;
use stateright::Property;

use super::{HerdModel, State};
use crate::world::{Fate, HostId};

/// All of them, by the numbers of the design.
pub(super) fn all() -> Vec<Property<HerdModel>> {
    fn holds(state: &State, invariant: u8) -> bool {
        let violation = state.world.ledger.violation.as_ref();
        violation.is_none_or(|violation| violation.invariant() != invariant)
    }
    vec![
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
        Property::sometimes("a failover completes", |_, s| new_leader(s).is_some()),
        Property::sometimes("a write in doubt is kept", |_, s| {
            new_leader(s).is_some_and(|leader| in_doubt(s, leader, true))
        }),
        Property::sometimes("a write in doubt is discarded", |_, s| {
            new_leader(s).is_some_and(|leader| in_doubt(s, leader, false))
        }),
        Property::sometimes("an acknowledged write outlives its leader", |_, s| {
            new_leader(s).is_some()
                && s.world
                    .ledger
                    .iter()
                    .any(|(_, written)| written.fate == Fate::Acknowledged)
        }),
    ]
}

/// Who leads beyond the first epoch, with its gate open.
fn new_leader(state: &State) -> Option<HostId> {
    let world = &state.world;
    let record = &world.store.record.value;
    let leader = world.herd.host(record.leader.as_ref()?);
    let server = world.server(leader);
    let opened = server.primary().is_some() && server.gate == Gate::Open;
    (record.epoch.0 > 1 && opened).then_some(leader)
}

/// Whether that leader has, or lacks, a write of which its client knows nothing.
fn in_doubt(state: &State, leader: HostId, kept: bool) -> bool {
    let wal = &state.world.server(leader).wal;
    state
        .world
        .ledger
        .iter()
        .any(|(_, written)| written.fate == Fate::Unknown && wal.contains(written.mark) == kept)
}
