//! The ladder by which a node's data comes back into the leader's history.

use manada_model::{Lsn, NodeName};

use super::{Decision, Mark, Rule};
use crate::action::{Order, Rung};
use crate::duty::Duty;
use crate::history::Relation;
use crate::input::LeaderServer;
use crate::node::{Ladder, Node};
use crate::position::RuleId;
use crate::reason::Reason;
use crate::server::{Promise, ServerFacts};
use crate::timer::Timer;

/// How often a rewind is tried before it is a clone.
const REWINDS_MAX: u32 = 2;

/// How often a clone is tried before the node counts as stuck. It is tried further on, after its
/// pauses: what was in the way, such as a full disk, may be gone.
const CLONES_MAX: u32 = 3;

/// How often a server may fail to start before its data is taken for broken, where nothing else is
/// known to keep it: with the pauses in between that is half a minute.
const STARTS_MAX: u32 = 8;

pub(super) const REJOIN: Rule = Rule {
    name: "rejoining: rejoin",
    why: "WAL that is not in the leader's history has to go before a node can follow",
    decide: |node| {
        if !node.would_rejoin() || node.leader_server != Some(LeaderServer::Answers) {
            return None;
        }
        let (leader, diverged_at, rung) = node.next_rung()?;
        let reason = match &node.server {
            Some(ServerFacts::Unusable) => Reason::DataUnusable,
            Some(ServerFacts::Stopped { .. }) if node.was_promoted_by_hand() => {
                Reason::PromotedByHand
            }
            Some(
                ServerFacts::Stopped { .. }
                | ServerFacts::Starting
                | ServerFacts::Unresponsive
                | ServerFacts::Standby(_)
                | ServerFacts::Primary(_),
            )
            | None => Reason::Diverged {
                leader: leader.clone(),
            },
        };
        let rejoin = Order::Rejoin {
            leader,
            diverged_at,
            rung,
        };
        Some(node.order_server(rejoin, reason)?.and(Mark::AnswerUsed))
    },
};

pub(super) const ASK_LEADER: Rule = Rule {
    name: "rejoining: ask the leader's server",
    why: "a try that can't reach the leader would be a waste of the few there are",
    decide: |node| {
        if !node.would_rejoin() || node.lanes.probing {
            return None;
        }
        let (leader, _, _) = node.next_rung()?;
        let due = match node.leader_server {
            None => true,
            Some(LeaderServer::Full | LeaderServer::Silent) => node.has_fired(&Timer::AskAgain),
            Some(LeaderServer::Answers) => false,
        };
        let reason = Reason::Diverged {
            leader: leader.clone(),
        };
        due.then(|| Decision::order(Order::ProbeLeader { leader }, reason))
    },
};

pub(super) const CLEANSE: Rule = Rule {
    name: "rejoining: forget the lost reign",
    why: "the data is the leader's now: nothing of a reign outside of its history is left",
    decide: |node| {
        let Duty::Follow { epoch, .. } = node.duty() else {
            return None;
        };
        (node.rejoin.cleansed && node.promise.epoch == epoch && node.promise_is_free()).then(|| {
            Decision::order(
                Order::Promise(Promise {
                    epoch,
                    led: None,
                    followed: node.reign_followed(),
                    rule: RuleId::default(),
                }),
                Reason::Rejoined,
            )
        })
    },
};

impl Node {
    /// Whether there is something to try now, and a leader whose reign has begun.
    pub(crate) fn would_rejoin(&self) -> bool {
        self.is_automatic()
            && self.lanes.server.order.is_none()
            && (self.rejoin.pause.is_none() || self.has_fired(&Timer::RejoinAgain))
            && self.next_rung().is_some()
            && self.leader_has_begun()
    }

    /// What is to be tried, if this node's data is not of the leader's history.
    pub(crate) fn next_rung(&self) -> Option<(NodeName, Option<Lsn>, Rung)> {
        let (leader, diverged_at, must_clone) = self.divergence()?;
        let rewinds = !must_clone && self.rejoin.rewinds < REWINDS_MAX;
        let rung = if rewinds { Rung::Rewind } else { Rung::Clone };
        Some((leader, diverged_at, rung))
    }

    /// Whether the tries are spent that are given at once.
    pub(crate) fn is_stuck(&self) -> bool {
        let clones = matches!(self.next_rung(), Some((_, _, Rung::Clone)));
        clones && self.rejoin.clones >= CLONES_MAX
    }

    /// Whose history this node's data is not of, where they part, and whether only a clone helps.
    pub(crate) fn divergence(&self) -> Option<(NodeName, Option<Lsn>, bool)> {
        let Duty::Follow { epoch, leader } = self.duty() else {
            return None;
        };
        if self.promise.epoch < epoch || self.rejoin.cleansed {
            return None;
        }
        let is_broken = self.lanes.server.failed.as_ref().is_some_and(|failing| {
            matches!(failing.order, Order::StartStandby { .. })
                && failing.failures >= STARTS_MAX
                && !failing.hindered
        });
        if is_broken && matches!(self.server, Some(ServerFacts::Stopped { .. })) {
            return Some((leader.clone(), None, false));
        }
        // Its timeline may be any, also that of the leader: a rewind might find nothing to do.
        if matches!(self.server, Some(ServerFacts::Stopped { .. })) && self.was_promoted_by_hand() {
            return Some((leader.clone(), None, true));
        }
        if self.has_fired(&Timer::Starved) {
            return Some((leader.clone(), None, false));
        }
        if matches!(self.server, Some(ServerFacts::Unusable)) {
            return Some((leader.clone(), None, true));
        }
        match self.relation()? {
            Relation::Part => None,
            Relation::Diverged { at, must_clone } => Some((leader.clone(), at, must_clone)),
        }
    }

    /// Whether the leader's lease says that the rule of its reign is written.
    pub(crate) fn leader_has_begun(&self) -> bool {
        let epoch = self.record().map(|record| record.value.epoch);
        self.lease
            .as_ref()
            .is_some_and(|lease| Some(lease.epoch) == epoch && lease.flush_lsn.is_valid())
    }
}

impl Ladder {
    /// How often the data was tried to be brought back.
    pub(crate) fn tries(&self) -> u32 {
        self.rewinds.saturating_add(self.clones)
    }

    /// The same with new tries.
    pub(crate) fn anew(&self) -> Ladder {
        Ladder {
            cleansed: self.cleansed,
            // A try that is under way ends in the new reign: how long it took is counted from here.
            began: self.began,
            ..Ladder::default()
        }
    }
}
