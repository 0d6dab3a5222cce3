//! How a node comes to follow the leader that the record has.

use super::{Decision, Rule};
use crate::action::{Order, Stop};
use crate::duty::Duty;
use crate::guards::Guard;
use crate::history::{self, Relation};
use crate::input::LeaderServer;
use crate::node::Node;
use crate::position::Followed;
use crate::reason::Reason;
use crate::server::{Promise, ServerFacts};

pub(super) const STOP: Rule = Rule {
    name: "following: stop the primary",
    why: "another leads: nothing that this server does counts",
    decide: |node| {
        let Duty::Follow { epoch, .. } = node.duty() else {
            return None;
        };
        let stop = Order::Stop(Stop::Immediate);
        let stops = node.may_acknowledge();
        stops.then(|| node.order_server(stop, Reason::Superseded { epoch }))?
    },
};

pub(super) const LEAVE_FORMER: Rule = Rule {
    name: "following: leave the former leader",
    why: "what it has is compared with the new leader's history once nothing more comes",
    decide: |node| {
        let Duty::Follow { epoch, leader } = node.duty() else {
            return None;
        };
        let follows = node.standby()?.follows.as_ref()?;
        let former = follows != leader || node.promise.epoch < epoch;
        former.then(|| node.order_server(Order::StopReceiving, Reason::Superseded { epoch }))?
    },
};

pub(super) const PROMISE: Rule = Rule {
    name: "following: promise",
    why: "whoever follows in an epoch follows in no earlier one afterwards, also on an old record",
    decide: |node| {
        let Duty::Follow { epoch, leader } = node.duty() else {
            return None;
        };
        let receives_nothing = match &node.server {
            Some(ServerFacts::Standby(facts)) => facts.follows.is_none(),
            Some(ServerFacts::Stopped { .. } | ServerFacts::Unusable) => true,
            Some(ServerFacts::Starting | ServerFacts::Unresponsive | ServerFacts::Primary(_))
            | None => false,
        };
        let promises = node.promise.epoch < epoch && receives_nothing;
        (promises && node.promise_is_free()).then(|| {
            Decision::order(
                Order::Promise(Promise {
                    epoch,
                    ..node.promise_now()
                }),
                Reason::PartOfHistory {
                    leader: leader.clone(),
                },
            )
        })
    },
};

pub(super) const START: Rule = Rule {
    name: "following: start in recovery",
    why: "a server that was seen to follow in this epoch goes on; another is looked at first",
    decide: |node| {
        let Duty::Follow { epoch, leader } = node.duty() else {
            return None;
        };
        if !matches!(node.server, Some(ServerFacts::Stopped { .. }))
            || node.promise.epoch < epoch
            || !(node.is_automatic() || node.stopped_here)
            || node.was_promoted_by_hand()
        {
            return None;
        }
        // What does not start is brought back first, as soon as the leader can be asked.
        let may_be_asked = matches!(node.leader_server, None | Some(LeaderServer::Answers));
        if node.would_rejoin() && may_be_asked {
            return None;
        }
        let followed = node.following.leader == Some((epoch, leader.clone())) && !node.was_primary;
        let start = Order::StartStandby {
            follow: followed.then(|| leader.clone()),
        };
        node.order_server(start, Reason::ServerStopped)
    },
};

pub(super) const TAKE_PART: Rule = Rule {
    name: "following: note whose WAL comes",
    why: "what comes of a reign without its rule can't be told from other WAL afterwards",
    decide: |node| {
        let Duty::Follow { epoch, leader } = node.duty() else {
            return None;
        };
        let due = node.must_note(node.reign_followed())
            && node.promise.epoch >= epoch
            && node.relation() == Some(Relation::Part);
        due.then(|| {
            let reason = Reason::PartOfHistory {
                leader: leader.clone(),
            };
            node.note_of(node.reign_followed(), reason)
        })
    },
};

pub(super) const FOLLOW: Rule = Rule {
    name: "following: follow",
    why: "its WAL is a part of the leader's history",
    decide: |node| {
        let Duty::Follow { epoch, leader } = node.duty() else {
            return None;
        };
        let facts = node.standby()?;
        let ready = facts.settled && facts.follows.is_none() && node.promise.epoch >= epoch;
        let reign = node.reign_followed();
        let noted = reign.is_none() || node.promise.followed == reign;
        let part = (node.relation() == Some(Relation::Part) && noted)
            || !node.guards.has(Guard::FollowOnlyOwnHistory);
        let order = Order::Follow {
            leader: leader.clone(),
        };
        let reason = Reason::PartOfHistory {
            leader: leader.clone(),
        };
        (ready && part).then(|| node.order_server(order, reason))?
    },
};

impl Node {
    /// How this standby's WAL stands to the history of the leader, if it follows nobody.
    pub(crate) fn relation(&self) -> Option<Relation> {
        let facts = self.standby()?;
        let record = self.member_record()?;
        (facts.settled && facts.follows.is_none()).then(|| {
            let wal = self.promise.last_word(facts.position);
            history::relation(wal, self.promise.led, &record.reigns)
        })
    }

    /// What whoever follows the leader, or leads, takes part in.
    pub(crate) fn reign_followed(&self) -> Option<Followed> {
        let record = self.member_record()?;
        let reign = record.reigns.last()?;
        (record.leader.as_ref() == Some(&reign.leader)).then(|| reign.followed())
    }
}
