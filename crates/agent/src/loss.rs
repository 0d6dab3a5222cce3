//! Whether the store has lost the herd's record, and what the node goes by then.

use std::time::Duration;

use jiff::Timestamp;
use manada_core::input::StoreState;
use manada_core::node::Node as Core;
use manada_core::policy::Published;
use manada_core::position::Epoch;
use manada_core::record::{Record, Versioned};
use manada_core::recover::is_lost;
use manada_core::server::{Enforced, Gate, ServerFacts};
use manada_core::timer::Moment;
use manada_model::NodeName;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::memory::Memory;

/// How long the store must have been behind what is known: a read may be stale, and a peer may have
/// told of a record before the store did.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// The store has lost the herd's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRecord {
    /// Since when this agent has seen that.
    pub since: Timestamp,
    /// The epoch of the older record that is there; `None` where there is none.
    pub found: Option<Epoch>,
}

/// What an agent sees of it.
#[derive(Debug)]
pub(crate) struct Lookout {
    /// What the node remembered when its agent was started.
    remembered: Option<Memory>,
    /// What the store has.
    found: Option<Versioned<Record>>,
    behind: Option<(Moment, Timestamp)>,
}

impl Lookout {
    pub(crate) fn new(remembered: Option<Memory>) -> Lookout {
        Lookout {
            remembered,
            found: None,
            behind: None,
        }
    }

    /// Takes in what the store has now.
    pub(crate) fn see(&mut self, found: Option<Versioned<Record>>) {
        self.found = found;
    }

    /// Whether the store has any record of the herd.
    pub(crate) fn has_record(&self) -> bool {
        self.found.is_some()
    }

    /// What was remembered, where that is all that there is.
    pub(crate) fn remembered(&self, core: &Core) -> Option<&Memory> {
        let remembered = self.remembered.as_ref()?;
        let newer = |known: &Versioned<Record>| known.order() >= remembered.record.order();
        (!core.record().is_some_and(newer)).then_some(remembered)
    }

    /// Whether the store has less than what is known.
    pub(crate) fn is_behind(&self, core: &Core) -> bool {
        let remembered = self.remembered(core).map(|memory| &memory.record);
        let known = remembered.or(core.record());
        is_lost(self.found.as_ref(), known, core.promise().epoch)
    }

    /// What the store is that answers.
    pub(crate) fn judge(&mut self, core: &Core) -> StoreState {
        if !self.is_behind(core) {
            self.behind = None;
            return StoreState::Reachable;
        }
        let (since, _) = *self
            .behind
            .get_or_insert_with(|| (clock::now(), Timestamp::now()));
        if clock::since(since) < LOST_AFTER {
            StoreState::Reachable
        } else {
            StoreState::RecordLost
        }
    }

    /// The loss, once [`Lookout::judge`] has found it.
    pub(crate) fn loss(&self) -> Option<LostRecord> {
        let (_, since) = self.behind?;
        Some(LostRecord {
            since,
            found: self.found.as_ref().map(|found| found.value.epoch),
        })
    }

    /// The record by which a node goes on whose agent was started after the loss, if that only
    /// leaves its server as it is. What is remembered is no more than a stale read of the store: it
    /// may be older than the one that was lost.
    pub(crate) fn resumed(&self, core: &Core, server: &ServerFacts) -> Option<Versioned<Record>> {
        if core.record().is_some() {
            return None;
        }
        let record = &self.remembered(core)?.record;
        let holds = core.promise().epoch <= record.value.epoch
            && leaves_alone(core.name(), &record.value, server);
        holds.then(|| record.clone())
    }
}

/// Whether the server is what that record wants it to be, so that nothing is started as a primary,
/// stopped or set otherwise because of it.
fn leaves_alone(own: &NodeName, record: &Record, server: &ServerFacts) -> bool {
    let leads = record.leader.as_ref() == Some(own);
    match server {
        ServerFacts::Primary(primary) => {
            let published = |published: &Published| {
                published.leader == *own
                    && primary.enforced == Enforced::Policy(published.policy.clone())
            };
            leads
                && primary.position.rule.epoch == record.epoch
                && primary.gate == Gate::Open
                && record.policies.len() == 1
                && record.policies.iter().all(published)
        }
        ServerFacts::Standby(_)
        | ServerFacts::Stopped {
            was_primary: false, ..
        } => record.leader.is_some() && !leads,
        ServerFacts::Stopped {
            was_primary: true, ..
        }
        | ServerFacts::Unusable
        | ServerFacts::Starting
        | ServerFacts::Unresponsive => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_core::policy::Policy;
    use manada_core::position::{Position, RuleId};
    use manada_core::record::{Desired, MemberRole, WhenShort};
    use manada_core::server::{PrimaryFacts, StandbyFacts};
    use manada_model::{Lsn, SyncMethod};

    fn name(text: &str) -> NodeName {
        text.parse().expect("a name")
    }

    fn any_1(standby: &str) -> Policy {
        Policy {
            method: SyncMethod::Any,
            count: 1,
            standbys: vec![name(standby)],
        }
    }

    /// n1 leads epoch 1.
    fn record() -> Record {
        let desired = Desired {
            method: SyncMethod::Any,
            count: 1,
            standbys: None,
            when_short: WhenShort::Block,
        };
        let server = MemberRole::Server { priority: 1 };
        let members = [(name("n1"), server), (name("n2"), server)].into();
        let policy = any_1("n2");
        Record::found(name("n1"), Position::default(), policy, desired, members)
    }

    fn primary(policy: Policy, gate: Gate, epoch: u64) -> ServerFacts {
        let rule = RuleId {
            epoch: Epoch(epoch),
            sub: 0,
        };
        ServerFacts::Primary(PrimaryFacts {
            position: Position {
                rule,
                flush_lsn: Lsn(1),
            },
            recovery_end_lsn: Lsn::INVALID,
            enforced: Enforced::Policy(policy),
            gate,
            followers: Vec::new(),
        })
    }

    fn stopped(was_primary: bool) -> ServerFacts {
        ServerFacts::Stopped {
            clean_end: None,
            was_primary,
        }
    }

    #[test]
    fn what_is_remembered_changes_nothing_about_a_server() {
        let standby = ServerFacts::Standby(StandbyFacts {
            position: Position::default(),
            settled: false,
            follows: None,
            streams: false,
        });
        for (server, leads, follows) in [
            (primary(any_1("n2"), Gate::Open, 1), true, false),
            (primary(any_1("n3"), Gate::Open, 1), false, false),
            (primary(any_1("n2"), Gate::Closed, 1), false, false),
            (primary(any_1("n2"), Gate::Open, 2), false, false),
            (standby, false, true),
            (stopped(false), false, true),
            (stopped(true), false, false),
            (ServerFacts::Starting, false, false),
        ] {
            let found = ["n1", "n2"].map(|own| leaves_alone(&name(own), &record(), &server));
            assert_eq!(found, [leads, follows], "{server:?}");
        }
        let mut changing = record();
        changing.policies.push(Published {
            leader: name("n1"),
            policy: any_1("n3"),
        });
        let server = primary(any_1("n2"), Gate::Open, 1);
        assert!(!leaves_alone(&name("n1"), &changing, &server));
    }
}
