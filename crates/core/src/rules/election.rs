//! How a node comes to raise the epoch, and whom it lets lead.

use manada_model::NodeName;

use super::{Decision, Mark, Rule};
use crate::action::Order;
use crate::attainable::attainable;
use crate::choice::{self, Choice};
use crate::duty::Duty;
use crate::history;
use crate::input::{LeaderServer, StoreState};
use crate::message::Message;
use crate::node::{Node, Resignation};
use crate::policy::{Policy, Published};
use crate::position::{Epoch, LastWord};
use crate::reason::Reason;
use crate::record::{Record, Reign};
use crate::timer::Timer;

pub(super) const PROBE: Rule = Rule {
    name: "election: ask the leader's server",
    why: "a lapsed lease may mean that only the leader's agent or its store is gone",
    decide: |node| {
        let leader = node.suspects()?;
        if node.lanes.probing || !node.is_automatic() || !node.is_server() {
            return None;
        }
        let due = match node.leader_server {
            None => true,
            Some(LeaderServer::Answers | LeaderServer::Full | LeaderServer::Silent) => {
                node.has_fired(&Timer::AskAgain)
            }
        };
        due.then(|| {
            Decision::order(
                Order::ProbeLeader {
                    leader: leader.clone(),
                },
                Reason::LeaseLapsedAsking {
                    leader: leader.clone(),
                },
            )
        })
    },
};

pub(super) const CAMPAIGN: Rule = Rule {
    name: "election: raise the epoch",
    why: "from then on the former leader changes nothing in the record any more",
    decide: |node| {
        let record = node.member_record()?;
        if !node.store_is_free() || !node.is_server() {
            return None;
        }
        let reason = node.reason_to_campaign()?;
        Some(node.raise(record, record.epoch.next(), reason))
    },
};

pub(super) const RAISE: Rule = Rule {
    name: "election: raise above a promise",
    why: "who has promised a higher epoch answers in no lower one",
    decide: |node| {
        let record = node.coordinated_record()?;
        let promised = node.election.refused;
        let outdone = promised > record.epoch && node.store_is_free();
        outdone.then(|| node.raise(record, promised.next(), Reason::PromisedHigher { promised }))
    },
};

pub(super) const ASK: Rule = Rule {
    name: "election: recruit",
    why: "those who promise leave the former leader too few to acknowledge anything",
    decide: |node| {
        let record = node.coordinated_record()?;
        let due = !node.election.asked || node.has_fired(&Timer::AskAgain);
        if !due || node.store != StoreState::Reachable {
            return None;
        }
        let missing = record
            .members
            .keys()
            .filter(|name| **name != node.name && !node.election.recruits.contains_key(*name));
        let recruit = Message::Recruit {
            epoch: record.epoch,
        };
        let reason = Reason::Recruiting {
            epoch: record.epoch,
        };
        Some(Decision::tell(missing, &recruit, reason).and(Mark::Asked))
    },
};

pub(super) const LET_FETCH: Rule = Rule {
    name: "election: let WAL be fetched",
    why: "the furthest WAL may be where nobody can lead",
    decide: |node| {
        let record = node.coordinated_record()?;
        if !choice::all_are_in(node, record) {
            return None;
        }
        let Ok(Choice::Fetch { by, from, wal }) = choice::choose(node, record) else {
            return None;
        };
        let told = node.election.fetcher.as_ref() == Some(&(by.clone(), from.clone(), wal));
        if told && (by == node.name || !node.has_fired(&Timer::AskAgain)) {
            return None;
        }
        let fetch = Message::Fetch {
            epoch: record.epoch,
            from: from.clone(),
            upto: wal.position.flush_lsn,
            unruled: wal.unruled,
        };
        let reason = Reason::WalIsElsewhere {
            holder: from.clone(),
            upto: wal.position.flush_lsn,
        };
        let whom = (by != node.name).then_some(&by);
        Some(
            Decision::tell(whom, &fetch, reason).and(Mark::FetchOrdered {
                by: by.clone(),
                from,
                wal,
            }),
        )
    },
};

pub(super) const CHOOSE: Rule = Rule {
    name: "election: choose the leader",
    why: "the recruits cover every policy, so the furthest of them has all that was acknowledged",
    decide: |node| {
        let record = node.coordinated_record()?;
        if !node.store_is_free() || !choice::all_are_in(node, record) {
            return None;
        }
        let Ok(Choice::Lead {
            leader,
            wal,
            reason,
        }) = choice::choose(node, record)
        else {
            return None;
        };
        let next = node.enthroned(record, &leader, wal);
        Some(node.swap(next, reason))
    },
};

impl Node {
    /// The leader, if its lease has lapsed.
    pub(crate) fn suspects(&self) -> Option<&NodeName> {
        let Duty::Follow { leader, .. } = self.duty_of_record()? else {
            return None;
        };
        self.has_fired(&Timer::LeaseLapsed).then_some(leader)
    }

    /// The leader whose reign this node may end, unless others do it before.
    pub(crate) fn campaigns_against(&self) -> Option<&NodeName> {
        if !self.is_server() {
            return None;
        }
        let heard = self.heard_resignation();
        // Only an operator makes the leader of a paused herd name a successor.
        let named = heard.is_some_and(|heard| heard.successor.as_ref() == Some(&self.name));
        if !self.is_automatic() && !named {
            return None;
        }
        if let Some(resignation) = heard {
            return Some(&resignation.leader);
        }
        let silent = self.leader_server == Some(LeaderServer::Silent);
        self.suspects().filter(|_| silent)
    }

    /// What the record alone makes of this node, whatever it has promised.
    fn duty_of_record(&self) -> Option<Duty<'_>> {
        let record = self.member_record()?;
        let leader = record.leader.as_ref()?;
        let epoch = record.epoch;
        Some(if *leader == self.name {
            Duty::Lead { epoch }
        } else {
            Duty::Follow { epoch, leader }
        })
    }

    /// The resignation of the leader that the record has, if it is another. That of an asynchronous
    /// leader may be withdrawn by any change of the record.
    pub(crate) fn heard_resignation(&self) -> Option<&Resignation> {
        let record = self.member_record()?;
        let place = self.record.as_deref()?.order();
        self.resignation.as_ref().filter(|resignation| {
            resignation.epoch == record.epoch
                && record.leader.as_ref() == Some(&resignation.leader)
                && resignation.leader != self.name
                && (resignation.of >= place || self.is_synchronous())
        })
    }

    /// The resignation of this node from the reign that the record has.
    pub(crate) fn own_resignation(&self) -> Option<&Resignation> {
        let record = self.member_record()?;
        self.resignation.as_ref().filter(|resignation| {
            resignation.epoch == record.epoch && resignation.leader == self.name
        })
    }

    fn reason_to_campaign(&self) -> Option<Reason> {
        let record = self.member_record()?;
        if self
            .failover
            .as_ref()
            .is_some_and(|wish| wish.epoch == record.epoch)
        {
            return Some(Reason::OperatorAsked);
        }
        if record.leader.is_none() {
            let silent = record.coordinator != self.name
                && self.is_automatic()
                && self.has_fired(&Timer::ElectionStalled);
            return silent.then(|| Reason::CoordinatorSilent {
                coordinator: record.coordinator.clone(),
            });
        }
        let leader = self.campaigns_against()?;
        let resignation = self.heard_resignation();
        let called = resignation
            .is_some_and(|resignation| resignation.successor.as_ref() == Some(&self.name));
        if !called && !self.has_fired(&Timer::Campaign) {
            return None;
        }
        let leader = leader.clone();
        Some(match resignation {
            Some(_) => Reason::LeaderResigned { leader },
            None => Reason::LeaseLapsed { leader },
        })
    }

    fn raise(&self, record: &Record, epoch: Epoch, reason: Reason) -> Decision {
        let next = Record {
            epoch,
            leader: None,
            coordinator: self.name.clone(),
            ..record.clone()
        };
        self.swap(next, reason)
    }

    /// The record with that leader.
    fn enthroned(&self, record: &Record, leader: &NodeName, wal: LastWord) -> Record {
        let recruits = &self.election.recruits;
        // A herd of one has nobody to wait for.
        let policy = attainable(record, leader, |name| recruits.contains_key(name))
            .unwrap_or_else(Policy::asynchronous);
        let published = Published {
            leader: leader.clone(),
            policy,
        };
        let mut policies = record.policies.clone();
        policies.retain(|other| *other != published);
        policies.push(published);
        let reign = Reign {
            epoch: record.epoch,
            leader: leader.clone(),
            began_at: wal.position,
            unruled: wal.unruled,
        };
        Record {
            leader: Some(leader.clone()),
            policies,
            reigns: history::reigns_with(&record.reigns, reign),
            ..record.clone()
        }
    }
}
