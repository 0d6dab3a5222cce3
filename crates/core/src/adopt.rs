//! What a newer record changes of what a node knows.

use std::sync::Arc;

use crate::action::Order;
use crate::guards::Guard;
use crate::node::{Election, Node, Tenure};
use crate::position::Epoch;
use crate::record::{Record, Revision, Versioned};
use crate::timer::Timer;

/// Whether the last sign of life is known that came before the record was changed. Who replaces an
/// asynchronous leader has to wait for its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastBeat {
    /// It is, since this node has replaced the record of that place.
    Known {
        replaced: (u32, Revision),
    },
    Unknown,
}

impl Node {
    /// Takes a record that is newer than the one that is known.
    pub(crate) fn adopt(&mut self, record: Arc<Versioned<Record>>) {
        self.adopt_after(LastBeat::Unknown, record);
    }

    /// Takes the record that this node has put in place of another by that swap.
    pub(crate) fn adopt_swapped(&mut self, swap: &Order, record: Arc<Versioned<Record>>) {
        let mut last_beat = LastBeat::Unknown;
        if let Order::Swap { expected, record } = swap {
            let replaced = (record.recoveries, *expected);
            last_beat = LastBeat::Known { replaced };
        }
        self.adopt_after(last_beat, record);
    }

    fn adopt_after(&mut self, last_beat: LastBeat, record: Arc<Versioned<Record>>) {
        let known = self.record.as_deref();
        if known.is_some_and(|known| known.order() >= record.order())
            || self.is_outdated(&record.value)
        {
            return;
        }
        // A herd that is taken up again has missed the beats of its leader.
        let turn = known.is_none_or(|known| {
            known.value.epoch != record.value.epoch
                || known.value.leader != record.value.leader
                || known.value.recoveries != record.value.recoveries
        });
        let republished = known.is_none_or(|known| {
            let (former, now) = (&known.value.policies, &record.value.policies);
            former.last() != now.last() || former.len() < now.len()
        });
        if republished {
            // A rule counts for what was in force when it was written, not for the same policy later.
            self.tenure.rule = None;
        }
        self.role = record.value.members.get(&self.name).copied();
        self.record = Some(record);
        if turn {
            self.turn(last_beat);
        }
    }

    /// Whether that record is older than one by which this node has promised something.
    pub(crate) fn is_outdated(&self, record: &Record) -> bool {
        self.promise.is_later_than(record) && self.guards.has(Guard::NeverFollowBelowPromise)
    }

    /// Another epoch, or another leader in it, or the same after a recovery.
    fn turn(&mut self, last_beat: LastBeat) {
        let Some(record) = self.record.clone() else {
            return;
        };
        let record = &record.value;
        let epoch = record.epoch;
        self.leader_server = None;
        self.lanes.probing = false;
        let recruits = record.leader.is_none() && record.coordinator == self.name;
        if record.leader.is_some() || (recruits && last_beat == LastBeat::Unknown) {
            self.restart(&Timer::LeaseLapsed);
        }
        if record.leader.is_some() {
            self.election = Election::default();
        }
        self.restart(&Timer::ElectionStalled);
        self.restart(&Timer::Campaign);
        let over = |called: Epoch| called < epoch || (called == epoch && record.leader.is_some());
        if self
            .summons
            .as_ref()
            .is_some_and(|summons| over(summons.epoch))
        {
            self.summons = None;
        }
        if self.fetch.as_ref().is_some_and(|fetch| over(fetch.epoch)) {
            self.fetch = None;
        }
        if recruits && self.election.epoch < epoch {
            self.election = self.election_of(epoch, last_beat);
        }
        if self
            .failover
            .as_ref()
            .is_some_and(|wish| wish.epoch < epoch)
        {
            self.failover = None;
        }
        if self
            .resignation
            .as_ref()
            .is_some_and(|resignation| resignation.epoch < epoch)
        {
            self.resignation = None;
        }
        if self
            .handover
            .as_ref()
            .is_some_and(|handover| handover.epoch < epoch)
        {
            self.handover = None;
        }
        if self.tenure.epoch != epoch {
            self.tenure = Tenure {
                epoch,
                ..Tenure::default()
            };
        }
        self.rejoin = self.rejoin.anew();
        self.away.clear();
        self.settled.clear();
    }

    /// What is known at the outset of an election in which this node recruits.
    fn election_of(&self, epoch: Epoch, last_beat: LastBeat) -> Election {
        let wish = self.failover.as_ref().filter(|wish| wish.epoch < epoch);
        let resignation = self
            .resignation
            .as_ref()
            .filter(|resignation| resignation.epoch < epoch);
        let ended = resignation.filter(|resignation| {
            last_beat
                == LastBeat::Known {
                    replaced: resignation.of,
                }
        });
        Election {
            epoch,
            preferred: wish
                .and_then(|wish| wish.to.clone())
                .or_else(|| resignation.and_then(|resignation| resignation.successor.clone()))
                .or_else(|| self.election.preferred.clone()),
            shunned: resignation
                .map(|resignation| resignation.leader.clone())
                .or_else(|| self.election.shunned.clone()),
            ended: ended
                .map(|resignation| resignation.epoch)
                .or(self.election.ended),
            allowed_loss: wish
                .and_then(|wish| wish.allowed_loss)
                .or(self.election.allowed_loss),
            ..Election::default()
        }
    }
}
