//! A switchover, on the side of the one who leads.

use manada_model::NodeName;

use super::{Decision, Mark, Rule};
use crate::action::{Order, Stop};
use crate::node::Node;
use crate::obstacle::{Obstacle, Unfit};
use crate::reason::Reason;
use crate::record::MemberRole;
use crate::server::{Gate, PrimaryFacts, ServerFacts};
use crate::timer::Timer;

/// How far behind a successor may be when the gate closes.
const BEHIND_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) const GIVE_UP: Rule = Rule {
    name: "handover: give up",
    why: "what an operator asked for does not happen long after",
    decide: |node| {
        let waits = node
            .handover
            .as_ref()
            .is_none_or(|handover| handover.successor.is_none());
        let begins =
            node.lanes.server.order == Some(Order::Checkpoint) || node.lanes.store.order.is_some();
        let over = waits && !begins && node.has_fired(&Timer::HandoverStalled);
        over.then(|| Decision::note(Mark::CommandDropped, Reason::HandoverStalled))
    },
};

pub(super) const CHECKPOINT: Rule = Rule {
    name: "handover: write a checkpoint",
    why: "the clean stop behind the closed gate has little to write then",
    decide: |node| {
        let handover = node.handover.as_ref()?;
        if handover.successor.is_some() || handover.checkpointed {
            return None;
        }
        let successor = node.successor().ok()?;
        node.order_server(Order::Checkpoint, Reason::HandingOver { successor })
    },
};

pub(super) const CLOSE: Rule = Rule {
    name: "handover: close the gate",
    why: "no client comes in any more that would only be sent away",
    decide: |node| {
        let handover = node.handover.as_ref()?;
        if handover.successor.is_some() || !handover.checkpointed {
            return None;
        }
        let successor = node.successor().ok()?;
        let reason = Reason::HandingOver {
            successor: successor.clone(),
        };
        let decision = node.order_server(Order::SetGate(Gate::Closed), reason)?;
        Some(decision.and(Mark::HandoverBegun { successor }))
    },
};

pub(super) const CLOSE_AGAIN: Rule = Rule {
    name: "handover: close the gate again",
    why: "the first try may have failed",
    decide: |node| {
        let reason = node.handing_over()?;
        let (facts, _) = node.leads_with()?;
        let stalled = node.has_fired(&Timer::HandoverStalled);
        let close = Order::SetGate(Gate::Closed);
        (facts.gate == Gate::Open && !stalled).then(|| node.order_server(close, reason))?
    },
};

pub(super) const STOP: Rule = Rule {
    name: "handover: stop cleanly",
    why: "the walsenders send everything, so that nothing of this WAL is left behind",
    decide: |node| {
        let reason = node.handing_over()?;
        let (facts, _) = node.leads_with()?;
        let stalled = node.has_fired(&Timer::HandoverStalled);
        (facts.gate == Gate::Closed && !stalled)
            .then(|| node.order_server(Order::Stop(Stop::Fast), reason))?
    },
};

pub(super) const STOP_STALLED: Rule = Rule {
    name: "handover: stop at once",
    why: "what does not stop cleanly in time is a failover",
    decide: |node| {
        node.handing_over()?;
        let stalled = node.has_fired(&Timer::HandoverStalled);
        let runs = matches!(
            node.server,
            Some(ServerFacts::Primary(_) | ServerFacts::Unresponsive | ServerFacts::Starting)
        );
        let stop = Order::Stop(Stop::Immediate);
        (stalled && runs).then(|| node.order_server(stop, Reason::HandoverStalled))?
    },
};

impl Node {
    /// The reason of a handover that has begun.
    fn handing_over(&self) -> Option<Reason> {
        let successor = self.handover.as_ref()?.successor.clone()?;
        Some(Reason::HandingOver { successor })
    }

    /// Who takes over in the switchover that is wanted, or why none.
    pub(crate) fn successor(&self) -> Result<NodeName, Obstacle> {
        let to = self
            .handover
            .as_ref()
            .and_then(|handover| handover.to.clone());
        self.successor_for(to)
    }

    /// Who takes over in a switchover to that one, or to the best; or why none.
    pub(crate) fn successor_for(&self, to: Option<NodeName>) -> Result<NodeName, Obstacle> {
        let Some((facts, _)) = self.leads_with() else {
            return Err(Obstacle::NotTheLeader {
                leader: self.record().and_then(|record| record.value.leader.clone()),
            });
        };
        if facts.gate == Gate::Closed {
            return Err(Obstacle::QuorumBehind { behind: Vec::new() });
        }
        // The next leader would have no more of them, and could not even let readers in.
        if let Some(too_few) = self.too_few_standbys() {
            return Err(too_few);
        }
        match to {
            Some(to) => match self.unfitness(facts, &to) {
                None => Ok(to),
                Some(unfit) => Err(Obstacle::SuccessorUnfit {
                    successor: Some(to),
                    unfit,
                }),
            },
            None => facts
                .followers
                .iter()
                .filter(|follower| self.unfitness(facts, &follower.name).is_none())
                .max_by_key(|follower| (self.priority(&follower.name), follower.flush_lsn))
                .map(|follower| follower.name.clone())
                .ok_or(Obstacle::SuccessorUnfit {
                    successor: None,
                    unfit: Unfit::Nobody,
                }),
        }
    }

    fn unfitness(&self, facts: &PrimaryFacts, name: &NodeName) -> Option<Unfit> {
        if *name == self.name {
            return Some(Unfit::Leads);
        }
        let Some(role) = self.members().and_then(|members| members.get(name)) else {
            return Some(Unfit::Unknown);
        };
        match role {
            MemberRole::Server { priority: 1.. } => {}
            MemberRole::Server { priority: 0 } | MemberRole::Witness => {
                return Some(Unfit::NeverLeads);
            }
        }
        let follower = facts
            .followers
            .iter()
            .find(|follower| follower.name == *name && follower.streaming);
        match follower {
            None => Some(Unfit::NotStreaming),
            Some(follower) => {
                let behind = facts.position.flush_lsn.bytes_since(follower.flush_lsn);
                (behind > BEHIND_BYTES_MAX).then_some(Unfit::Behind)
            }
        }
    }

    fn priority(&self, name: &NodeName) -> u8 {
        match self.members().and_then(|members| members.get(name)) {
            Some(MemberRole::Server { priority }) => *priority,
            Some(MemberRole::Witness) | None => 0,
        }
    }
}
