//! From one policy to another: the old one stays published until the new one's quorum has all.

use std::collections::BTreeSet;

use manada_model::NodeName;

use super::Rule;
use super::promotion;
use crate::action::Order;
use crate::attainable::attainable;
use crate::guards::Guard;
use crate::node::Node;
use crate::policy::{self, Policy, Published};
use crate::position::{self, RuleId};
use crate::reason::Reason;
use crate::record::Record;
use crate::server::{Enforced, Gate};

/// How many policies may be published at once. Each of them must be covered by a failover.
const POLICIES_MAX: usize = 6;

pub(super) const PUBLISH: Rule = Rule {
    name: "policy: publish",
    why: "a failover has to cover what comes to be in force before it is",
    decide: |node| {
        let record = node.member_record()?;
        if !node.is_automatic() || !node.store_is_free() || node.handover.is_some() {
            return None;
        }
        let wanted = node.wanted_policy()?;
        let target = node.target(record)?;
        let reason = Reason::PolicyAttainable {
            joined: missing_in(&target.standbys, &wanted.standbys),
            left: missing_in(&wanted.standbys, &target.standbys),
        };
        Some(node.swap(node.with_policy(record, wanted), reason))
    },
};

pub(super) const PUBLISH_FOREIGN: Rule = Rule {
    name: "policy: publish that a foreign one is in force",
    why: "who knows whom its commits wait for? Nobody but their leader is sure to have them",
    decide: |node| {
        let (facts, _) = node.leads_with()?;
        let record = node.member_record()?;
        if !node.is_unpublished(&facts.enforced) || !node.store_is_free() {
            return None;
        }
        let alone = Published {
            leader: node.name.clone(),
            policy: Policy::asynchronous(),
        };
        if record.policies.contains(&alone) {
            return None;
        }
        // The last one stays the one to be put in force.
        let mut policies = vec![alone];
        policies.extend(record.policies.iter().cloned());
        let next = Record {
            policies,
            ..record.clone()
        };
        Some(node.swap(next, Reason::PolicyForeign))
    },
};

pub(super) const ENFORCE: Rule = Rule {
    name: "policy: put it in force",
    why: "commits wait for what is published",
    decide: |node| {
        let (facts, published) = node.leads_with()?;
        let record = node.member_record()?;
        let unpublished = (!node.guards.has(Guard::PublishBeforeEnforce))
            .then(|| node.wanted_policy())
            .flatten();
        let policy = unpublished.as_ref().unwrap_or(published);
        let begun = facts.position.rule.epoch == record.epoch;
        let in_force = facts.enforced.is(policy);
        // What is published beside it may be in force still, in a backend or a walsender.
        let proven = record.policies.len() == 1 || node.tenure.proven.as_ref() == Some(policy);
        let rule_first = !node.guards.has(Guard::EnforceBeforeRule)
            && record.policies.len() > 1
            && node.rule_of(policy).is_none();
        if !begun || (in_force && proven) || rule_first || !node.may_relax(policy) {
            return None;
        }
        let reason = if node.is_unpublished(&facts.enforced) {
            Reason::PolicyForeign
        } else {
            Reason::PolicyChange
        };
        if facts.gate == Gate::Open || node.is_ready_to_acknowledge() {
            let confirmed = node.confirmed == Some(record.epoch)
                || !node.guards.has(Guard::ConfirmBeforeEnforce);
            let enforce = Order::Enforce(Enforced::Policy(policy.clone()));
            return confirmed
                .then(|| node.order_server(enforce, reason))
                .flatten();
        }
        // Behind the gate nothing is acknowledged until the quorum has caught up.
        let hold = facts.enforced != Enforced::Nobody
            && !in_force
            && node.guards.has(Guard::PlaceholderUntilRule);
        hold.then(|| node.order_server(Order::Enforce(Enforced::Nobody), Reason::NotYetCaughtUp))?
    },
};

pub(super) const WRITE_RULE: Rule = Rule {
    name: "policy: write its rule",
    why: "who has the rule has all that was acknowledged before it",
    decide: |node| {
        let (facts, policy) = node.leads_with()?;
        let record = node.member_record()?;
        let begins = facts.position.rule.epoch < record.epoch;
        let needed = begins || (record.policies.len() > 1 && node.rule_of(policy).is_none());
        if !needed || node.promise.led != Some(record.epoch) || !node.may_write_rule(begins) {
            return None;
        }
        let id = RuleId {
            epoch: record.epoch,
            sub: if begins {
                0
            } else {
                facts.position.rule.sub + 1
            },
        };
        let rule = position::Rule {
            id,
            leader: node.name.clone(),
            policy: policy.clone(),
        };
        let reason = if begins {
            Reason::ReignBegins {
                epoch: record.epoch,
            }
        } else {
            Reason::PolicyChange
        };
        node.order_server(Order::WriteRule(rule), reason)
    },
};

pub(super) const CONCLUDE: Rule = Rule {
    name: "policy: publish it alone",
    why: "its quorum has its rule, and so all that the others acknowledged",
    decide: |node| {
        let (facts, policy) = node.leads_with()?;
        let record = node.member_record()?;
        if record.policies.len() < 2 || !node.store_is_free() {
            return None;
        }
        let (rule, lsn) = node.tenure.rule.as_ref()?;
        let behind_gate = facts.gate == Gate::Closed && !node.is_founder();
        let written_for_it = rule.policy == *policy && rule.id.epoch == record.epoch;
        let flushed = node.quorum_has(*lsn) || !node.guards.has(Guard::PublishUntilRule);
        let in_force = node.tenure.proven.as_ref() == Some(policy);
        if !written_for_it || !flushed || !(behind_gate || in_force) {
            return None;
        }
        let next = Record {
            policies: vec![Published {
                leader: node.name.clone(),
                policy: policy.clone(),
            }],
            ..record.clone()
        };
        Some(node.swap(next, Reason::QuorumHasRule { rule: rule.id }))
    },
};

fn missing_in(known: &[NodeName], names: &[NodeName]) -> Vec<NodeName> {
    let known: BTreeSet<_> = known.iter().collect();
    names
        .iter()
        .filter(|name| !known.contains(name))
        .cloned()
        .collect()
}

impl Node {
    /// The policy that is to be published next, if it is another than the one that is.
    pub(crate) fn wanted_policy(&self) -> Option<Policy> {
        let (facts, target) = self.leads_with()?;
        let record = self.member_record()?;
        // What is under way is only replaced if it can't come to its end.
        let under_way = record.policies.len() > 1 || facts.gate == Gate::Closed;
        let streams = |name: &&NodeName| {
            facts
                .follower(name)
                .is_some_and(|follower| follower.streaming)
        };
        let stuck = || {
            let streaming = target.standbys.iter().filter(streams).count();
            !self.away.is_empty() && streaming < target.count as usize
        };
        if facts.position.rule.epoch != record.epoch
            || (under_way && !stuck())
            || record.policies.len() >= POLICIES_MAX
        {
            return None;
        }
        let of_target: BTreeSet<_> = target.standbys.iter().collect();
        let is_there = |name: &NodeName| {
            self.settled.contains(name) || (of_target.contains(name) && !self.away.contains(name))
        };
        let wanted = attainable(record, &self.name, is_there)?;
        (wanted != *target).then_some(wanted)
    }

    /// The record with that policy published: alone if it waits for nobody, since then only this
    /// node has all that is acknowledged, and beside the others if it does.
    fn with_policy(&self, record: &Record, policy: Policy) -> Record {
        let published = Published {
            leader: self.name.clone(),
            policy,
        };
        let mut policies = if published.policy.is_synchronous() {
            record.policies.clone()
        } else {
            Vec::new()
        };
        policies.retain(|other| *other != published);
        let own = policies.iter().filter(|other| other.leader == self.name);
        let between = policy::mixture(own.map(|other| &other.policy).chain([&published.policy]));
        let between = between.filter(|_| self.guards.has(Guard::PublishMixture));
        let between = between.map(|policy| Published {
            leader: self.name.clone(),
            policy,
        });
        // The last one is the one to be put in force.
        policies
            .extend(between.filter(|between| !policies.contains(between) && *between != published));
        policies.push(published);
        Record {
            policies,
            ..record.clone()
        }
    }

    /// Whether that policy is published for this leader.
    pub(crate) fn publishes(&self, policy: &Policy) -> bool {
        let own =
            |published: &Published| published.leader == self.name && published.policy == *policy;
        self.member_record()
            .is_some_and(|record| record.policies.iter().any(own))
            || !self.guards.has(Guard::PublishBeforeEnforce)
    }

    /// Whether commits wait for what was never published for this leader: for what somebody else
    /// has set.
    pub(crate) fn is_unpublished(&self, enforced: &Enforced) -> bool {
        match enforced {
            Enforced::Nobody => false,
            Enforced::Foreign => true,
            Enforced::Policy(policy) => !self.publishes(policy),
        }
    }

    /// Behind the gate: whether the quorum has the rule, and all that clients may see.
    fn is_ready_to_acknowledge(&self) -> bool {
        let Some((_, policy)) = self.leads_with() else {
            return false;
        };
        let alone = self
            .member_record()
            .is_some_and(|record| record.policies.len() == 1);
        let ruled = alone || self.rule_of(policy).is_some();
        !self.guards.has(Guard::PlaceholderUntilRule) || (ruled && self.is_caught_up())
    }

    /// Where the WAL of the rule ends that this node wrote for that policy.
    pub(crate) fn rule_of(&self, policy: &Policy) -> Option<manada_model::Lsn> {
        let (rule, lsn) = self.tenure.rule.as_ref()?;
        (rule.policy == *policy).then_some(*lsn)
    }

    fn may_write_rule(&self, begins: bool) -> bool {
        let Some((facts, policy)) = self.leads_with() else {
            return false;
        };
        if begins {
            let founds = self
                .member_record()
                .is_some_and(|record| promotion::founds(self, record));
            return founds
                || !self.guards.has(Guard::PlaceholderUntilRule)
                || (facts.enforced == Enforced::Nobody && facts.gate == Gate::Closed);
        }
        let in_force = self.tenure.proven.as_ref() == Some(policy)
            || (facts.gate == Gate::Closed
                && match &facts.enforced {
                    Enforced::Nobody => true,
                    Enforced::Policy(enforced) => enforced == policy,
                    Enforced::Foreign => false,
                });
        in_force || !self.guards.has(Guard::EnforceBeforeRule)
    }
}
