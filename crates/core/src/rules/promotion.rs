//! From being chosen to being a primary with its rule in the WAL.

use super::{Decision, Rule};
use crate::action::{Order, Stop};
use crate::duty::Duty;
use crate::guards::Guard;
use crate::node::Node;
use crate::position::Epoch;
use crate::reason::Reason;
use crate::record::Record;
use crate::server::{Enforced, Gate, PrimaryFacts, Promise, ServerFacts};

pub(super) const PROMISE: Rule = Rule {
    name: "promotion: promise to lead",
    why: "after a crash its WAL is known to be of that reign, also if no rule came into it",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let promised = node.promise.epoch == epoch && node.promise.led == Some(epoch);
        // Another's promise of an earlier reign is no reason to take over a running primary.
        let primary_of_another = beginning(node).is_some() && !founds(node, node.member_record()?);
        (!promised && !primary_of_another && node.promise_is_free()).then(|| {
            Decision::order(
                Order::Promise(Promise {
                    epoch,
                    led: Some(epoch),
                    followed: node.reign_followed(),
                    ..node.promise_now()
                }),
                Reason::Chosen { epoch },
            )
        })
    },
};

pub(super) const STOP_UNPROMISED: Rule = Rule {
    name: "promotion: stop a primary of another reign",
    why: "it is started in recovery, and promoted in this one",
    decide: |node| {
        let (epoch, facts) = beginning(node)?;
        let own = node.promise.led == Some(epoch) || founds(node, node.member_record()?);
        let stop = Order::Stop(Stop::Immediate);
        (!own && facts.position.rule.epoch < epoch)
            .then(|| node.order_server(stop, Reason::Superseded { epoch }))?
    },
};

pub(super) const START: Rule = Rule {
    name: "promotion: start in recovery",
    why: "a promotion begins with a standby",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let stopped = matches!(node.server, Some(ServerFacts::Stopped { .. }));
        let start = Order::StartStandby { follow: None };
        (stopped && !node.has_reigned(epoch))
            .then(|| node.order_server(start, Reason::Chosen { epoch }))?
    },
};

pub(super) const STOP_RECEIVING: Rule = Rule {
    name: "promotion: stop receiving",
    why: "who leads follows nobody",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let receives = node.standby()?.follows.is_some();
        receives.then(|| node.order_server(Order::StopReceiving, Reason::Chosen { epoch }))?
    },
};

pub(super) const PROMOTE: Rule = Rule {
    name: "promotion: promote",
    why: "the record says that this node leads",
    decide: |node| {
        let Duty::Lead { epoch } = node.duty() else {
            return None;
        };
        let facts = node.standby()?;
        let durable =
            node.promise.led == Some(epoch) || !node.guards.has(Guard::PersistBeforePromoting);
        let ready = durable && facts.settled && facts.follows.is_none();
        ready.then(|| node.order_server(Order::Promote, Reason::Chosen { epoch }))?
    },
};

pub(super) const CLOSE: Rule = Rule {
    name: "promotion: close the gate",
    why: "nobody sees what a failover could still lose",
    decide: |node| {
        let (epoch, facts) = beginning(node)?;
        let open = facts.gate == Gate::Open && !founds(node, node.member_record()?);
        let close = Order::SetGate(Gate::Closed);
        open.then(|| node.order_server(close, Reason::ReignBegins { epoch }))?
    },
};

pub(super) const HOLD_COMMITS: Rule = Rule {
    name: "promotion: hold commits",
    why: "an acknowledgement before the quorum has the rule could lose against older WAL",
    decide: |node| {
        let (_, facts) = beginning(node)?;
        let foreign = match &facts.enforced {
            Enforced::Nobody => false,
            Enforced::Policy(_) | Enforced::Foreign => true,
        };
        let held = !foreign
            || founds(node, node.member_record()?)
            || !node.guards.has(Guard::PlaceholderUntilRule);
        let hold = Order::Enforce(Enforced::Nobody);
        (!held).then(|| node.order_server(hold, Reason::NotYetCaughtUp))?
    },
};

/// The server as a primary whose reign has no rule yet.
fn beginning(node: &Node) -> Option<(Epoch, &PrimaryFacts)> {
    let Duty::Lead { epoch } = node.duty() else {
        return None;
    };
    let facts = node.primary()?;
    (facts.position.rule.epoch < epoch).then_some((epoch, facts))
}

/// Whether this is the reign of the primary around which the herd was made: it runs already, with
/// its clients.
pub(super) fn founds(node: &Node, record: &Record) -> bool {
    record.epoch == Epoch::FIRST && record.leader.as_ref() == Some(&node.name)
}

impl Node {
    /// Whether the rule of its own reign is known to be in its WAL.
    pub(crate) fn has_reigned(&self, epoch: Epoch) -> bool {
        let Some(ServerFacts::Stopped {
            clean_end,
            was_primary,
        }) = &self.server
        else {
            return false;
        };
        let written = self.promise.rule.epoch == epoch
            || clean_end.is_some_and(|end| end.rule.epoch == epoch)
            || self.rule_seen.is_some_and(|rule| rule.epoch == epoch);
        *was_primary && written && self.promise.led == Some(epoch)
    }
}
