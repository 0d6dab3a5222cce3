//! A reign: its signs of life, its gate, and what makes it harmless when it ends.

use manada_model::{Lsn, NodeName};

use super::{Decision, Mark, Rule, promotion};
use crate::action::{Order, Stop};
use crate::duty::Duty;
use crate::guards::Guard;
use crate::input::StoreState;
use crate::message::Message;
use crate::node::{AgentRestart, Node, Resignation};
use crate::policy::Policy;
use crate::reason::Reason;
use crate::server::{Enforced, Gate, ServerFacts};
use crate::timer::{AGENT_RESTART, Timer};

/// How often a promotion is tried before another is let.
const PROMOTIONS_MAX: u32 = 3;

pub(super) const RESIGN: Rule = Rule {
    name: "leading: resign",
    why: "nobody has to wait for the lease of a leader whose server is gone",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let of = node.record.as_deref()?.order();
        let (successor, reason) = match node.own_resignation() {
            // By another's change of the record it has become void.
            Some(own) if own.of != of && node.stays_away() => {
                (own.successor.clone(), Reason::RecordChanged)
            }
            Some(_) => return None,
            None => node.reason_to_resign()?,
        };
        let others = node.members()?.keys().filter(|name| **name != node.name);
        let resigned = Message::Resigned {
            epoch,
            of,
            successor: successor.clone(),
        };
        Some(
            Decision::tell(others, &resigned, reason).and(Mark::Resigned(Resignation {
                epoch,
                leader: node.name.clone(),
                of,
                successor,
                beats: 0,
            })),
        )
    },
};

pub(super) const STOP_HUNG: Rule = Rule {
    name: "server: stop what hangs",
    why: "a server that has not answered for so long is of no use, and may come back at any time",
    decide: |node| {
        let hangs = node.has_fired(&Timer::ServerHung)
            && matches!(node.server, Some(ServerFacts::Unresponsive));
        let stop = Order::Stop(Stop::Immediate);
        (hangs && node.is_automatic()).then(|| node.order_server(stop, Reason::ServerHung))?
    },
};

pub(super) const STOP_ISOLATED: Rule = Rule {
    name: "leading: stop in isolation",
    why: "without the store and the quorum it can only show what is old",
    decide: |node| {
        let (facts, _) = node.leads_with()?;
        let isolated = node.has_fired(&Timer::QuorumSilent)
            && node.store != StoreState::Reachable
            && facts.gate == Gate::Open;
        let stop = Order::Stop(Stop::Immediate);
        isolated.then(|| node.order_server(stop, Reason::Isolated))?
    },
};

pub(super) const STOP_LAPSED: Rule = Rule {
    name: "leading: stop when the own lease ends",
    why: "nothing but time keeps an asynchronous leader from acknowledging",
    decide: |node| {
        let (facts, _) = node.leads_with()?;
        let asynchronous = node.is_asynchronous() || node.rests_on_time(&facts.enforced);
        let lapsed = node.has_fired(&Timer::LeaseEnds) && asynchronous;
        let stop = Order::Stop(Stop::Immediate);
        let serves = facts.gate == Gate::Open || node.rests_on_time(&facts.enforced);
        (lapsed && serves).then(|| node.order_server(stop, Reason::LeaseEnded))?
    },
};

pub(super) const WITHDRAW: Rule = Rule {
    name: "leading: withdraw the resignation",
    why: "at its word others would take over from an asynchronous leader without waiting for its lease",
    decide: |node| {
        let record = node.member_record()?;
        (node.word_is_out() && node.goes_on() && node.store_is_free())
            .then(|| node.swap(record.clone(), Reason::NobodyTakesOver))
    },
};

pub(super) const RENEW: Rule = Rule {
    name: "leading: renew the lease",
    why: "a sign of life keeps others from campaigning",
    decide: |node| {
        if !node.renews() || node.lanes.renewal.is_some() {
            return None;
        }
        let beat = node.has_fired(&Timer::Beat);
        let (due, holds_for) = match node.agent_restart {
            AgentRestart::No => (beat || !node.lease_is_held, node.limits.timings.lease),
            AgentRestart::Announced => (true, AGENT_RESTART),
            AgentRestart::Said => (beat && !node.lease_is_held, node.limits.timings.lease),
        };
        // What could not be renewed is tried again at the next beat.
        if !due || (node.lanes.renewal_failed && !beat) {
            return None;
        }
        let reason = match node.agent_restart {
            AgentRestart::Announced => Reason::AgentRestarts,
            AgentRestart::No | AgentRestart::Said => Reason::BeatDue,
        };
        let renew = Order::RenewLease {
            expected: node.record.as_deref()?.revision,
            holds_for,
            flush_lsn: node.reign_lsn(),
        };
        let decision = Decision::order(renew, reason);
        Some(match node.agent_restart {
            AgentRestart::Announced => decision.and(Mark::RestartSaid),
            AgentRestart::No | AgentRestart::Said => decision,
        })
    },
};

pub(super) const ARM_DEADMAN: Rule = Rule {
    name: "leading: arm the deadman",
    why: "an asynchronous leader is stopped in time, also if its agent is gone",
    decide: |node| {
        let (facts, _) = node.leads_with()?;
        let deadline = node.armed.get(&Timer::LeaseEnds).copied()?;
        let due = (node.is_asynchronous() || node.rests_on_time(&facts.enforced))
            && node.lease_is_held
            && node.lanes.deadman.is_none()
            && node.lanes.deadline != Some(Some(deadline));
        due.then(|| {
            Decision::order(
                Order::Deadman {
                    deadline: Some(deadline),
                },
                Reason::Asynchronous,
            )
        })
    },
};

pub(super) const DISARM_DEADMAN: Rule = Rule {
    name: "leading: disarm the deadman",
    why: "in a synchronous herd an agent that is killed leaves a server that goes on, safely",
    decide: |node| {
        let armed = matches!(node.lanes.deadline, Some(Some(_))) && node.lanes.deadman.is_none();
        let needed = match &node.server {
            Some(ServerFacts::Primary(facts)) => {
                acknowledges_alone(&facts.enforced)
                    || (node.leads_with().is_some()
                        && (node.is_asynchronous() || node.rests_on_time(&facts.enforced)))
            }
            Some(ServerFacts::Starting | ServerFacts::Unresponsive) | None => node.was_primary,
            Some(ServerFacts::Stopped { .. } | ServerFacts::Unusable | ServerFacts::Standby(_)) => {
                false
            }
        };
        (armed && !needed)
            .then(|| Decision::order(Order::Deadman { deadline: None }, Reason::Synchronous))
    },
};

pub(super) const REOPEN: Rule = Rule {
    name: "leading: start in place",
    why: "nobody takes over, so the herd has no other primary",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let alone = match node.own_resignation() {
            Some(_) => node.has_fired(&Timer::ElectionStalled),
            None => node.reason_to_resign().is_none() && node.is_automatic(),
        };
        let starts = alone && node.has_reigned(epoch);
        starts.then(|| node.order_server(Order::StartPrimary, Reason::NobodyTakesOver))?
    },
};

pub(super) const REMEMBER_RULE: Rule = Rule {
    name: "leading: remember the rule",
    why: "a stopped server can't be asked whether its reign has begun, and is started in place if so",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let written = node.primary()?.position.rule;
        let known = node.promise.rule.epoch >= epoch || node.promise.led != Some(epoch);
        (written.epoch == epoch && !known && node.promise_is_free()).then(|| {
            let promise = node.promise_now();
            Decision::order(Order::Promise(promise), Reason::ReignBegins { epoch })
        })
    },
};

pub(super) const OPEN: Rule = Rule {
    name: "leading: open the gate",
    why: "the policy is in force and published alone, and the quorum has all that can be seen",
    decide: |node| {
        let (facts, policy) = node.leads_with()?;
        let record = node.member_record()?;
        let ready = facts.gate == Gate::Closed
            && node
                .handover
                .as_ref()
                .is_none_or(|handover| handover.successor.is_none())
            && facts.position.rule.epoch == record.epoch
            && record.policies.len() == 1
            && facts.enforced.is(policy)
            && node.may_relax(policy)
            && node.is_caught_up();
        let open = Order::SetGate(Gate::Open);
        ready.then(|| node.order_server(open, Reason::QuorumCaughtUp))?
    },
};

/// Whether commits wait for nobody.
pub(super) fn acknowledges_alone(enforced: &Enforced) -> bool {
    match enforced {
        Enforced::Policy(policy) => !policy.is_synchronous(),
        Enforced::Nobody => false,
        Enforced::Foreign => true,
    }
}

impl Node {
    /// Why this leader makes way, and for whom.
    fn reason_to_resign(&self) -> Option<(Option<NodeName>, Reason)> {
        let told = self
            .handover
            .as_ref()
            .is_some_and(|handover| handover.successor.is_some());
        if !(self.is_automatic() || told) {
            return None;
        }
        let stalled = self.has_fired(&Timer::ElectionStalled) && self.standby().is_some();
        if self.tenure.failures >= PROMOTIONS_MAX || stalled {
            return Some((None, Reason::PromotionFailed));
        }
        if !self.is_gone() {
            return None;
        }
        if let Some(successor) = self
            .handover
            .as_ref()
            .and_then(|handover| handover.successor.clone())
        {
            let reason = Reason::HandingOver {
                successor: successor.clone(),
            };
            return Some((Some(successor), reason));
        }
        let heir = self.tenure.heir.clone()?;
        let record = self.member_record()?;
        // Where commits wait for nobody, only this node has them all: it tries to start first.
        let keeps = record
            .policies
            .iter()
            .all(|published| published.policy.is_synchronous());
        let fails = self.lanes.server.fails_at(&Order::StartPrimary);
        (keeps || fails || !self.has_reigned(record.epoch))
            .then_some((Some(heir), Reason::ServerGone))
    }

    /// Whether its server does not run, and nothing that would start it is under way.
    fn is_gone(&self) -> bool {
        let gone = matches!(
            self.server,
            Some(ServerFacts::Stopped { .. } | ServerFacts::Unusable)
        );
        gone && self.lanes.server.order.is_none()
    }

    /// Whether a leader that has resigned still gives others the time to take over.
    fn stays_away(&self) -> bool {
        self.is_gone() && !self.has_fired(&Timer::ElectionStalled)
    }

    /// Where the WAL of its reign ends; no position until the reign has begun. For an asynchronous
    /// leader it is also the word that nothing outlives its lease: who does not know what would be
    /// lost takes nothing over by itself, so it is not said before the deadman is armed.
    fn reign_lsn(&self) -> Lsn {
        let Some((facts, _)) = self.leads_with() else {
            return Lsn::INVALID;
        };
        let epoch = self.record.as_deref().map(|record| record.value.epoch);
        let begun = Some(facts.position.rule.epoch) == epoch;
        let ends = !(self.is_asynchronous() || self.rests_on_time(&facts.enforced))
            || matches!(self.lanes.deadline, Some(Some(_)));
        if begun && ends {
            facts.position.flush_lsn
        } else {
            Lsn::INVALID
        }
    }

    /// Whether enough of its standbys have what clients may see, and the rule.
    pub(crate) fn is_caught_up(&self) -> bool {
        if !self.guards.has(Guard::CatchUpBeforeOpening) {
            return true;
        }
        let Some((facts, policy)) = self.leads_with() else {
            return false;
        };
        let rule_lsn = self.rule_of(policy).unwrap_or(Lsn::INVALID);
        self.quorum_has(facts.recovery_end_lsn.max(rule_lsn))
    }

    /// Whether so many of the policy's standbys as it needs have flushed up to there.
    pub(crate) fn quorum_has(&self, lsn: Lsn) -> bool {
        let Some((facts, policy)) = self.leads_with() else {
            return false;
        };
        let has = |name: &&NodeName| {
            facts
                .follower(name)
                .is_some_and(|follower| follower.streaming && follower.flush_lsn >= lsn)
        };
        let needed = policy.count as usize;
        policy.standbys.iter().filter(has).take(needed).count() >= needed
    }

    /// Whether a policy by which this node alone has what it acknowledges is published for it, as it
    /// is until another was proven to be in force: so long others reckon with the end of its lease.
    fn is_asynchronous(&self) -> bool {
        self.member_record().is_some_and(|record| {
            let mut policies = record.policies.iter();
            policies.any(|published| {
                published.leader == self.name && !published.policy.is_synchronous()
            })
        })
    }

    /// Whether somebody may still reckon with it that this asynchronous leader has resigned.
    pub(crate) fn word_is_out(&self) -> bool {
        self.tenure.may_have_resigned
            && self.is_asynchronous()
            && self.guards.has(Guard::WithdrawResignation)
    }

    /// Whether that policy may be in force: one that waits for nobody only under a lease, with
    /// the deadman armed.
    pub(crate) fn may_relax(&self, policy: &Policy) -> bool {
        policy.is_synchronous()
            || (self.lease_is_held && matches!(self.lanes.deadline, Some(Some(_))))
    }

    /// Whether nothing but time ends what that lets be acknowledged: it waits for nobody, or for
    /// somebody whom no failover asks, since it was not published.
    pub(crate) fn rests_on_time(&self, enforced: &Enforced) -> bool {
        match enforced {
            Enforced::Nobody => false,
            Enforced::Foreign => true,
            Enforced::Policy(policy) => !policy.is_synchronous() || !self.publishes(policy),
        }
    }

    /// Whether the reign is the founder's, which has clients from the beginning.
    pub(crate) fn is_founder(&self) -> bool {
        self.member_record()
            .is_some_and(|record| promotion::founds(self, record))
    }
}
