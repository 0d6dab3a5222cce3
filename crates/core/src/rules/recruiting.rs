//! What a recruit owes to the coordinator.

use super::{Decision, Mark, Rule};
use crate::action::{Order, Stop};
use crate::duty::Duty;
use crate::guards::Guard;
use crate::message::Message;
use crate::node::Node;
use crate::position::Followed;
use crate::reason::Reason;
use crate::server::{Promise, ServerFacts};

pub(super) const PROMISE: Rule = Rule {
    name: "recruit: promise",
    why: "what is promised has to survive a crash before anybody reckons with it",
    decide: |node| {
        let Duty::Recruit {
            epoch,
            by: Some(by),
        } = node.duty()
        else {
            return None;
        };
        let promised = node.promise.epoch >= epoch;
        (!promised && node.promise_is_free()).then(|| {
            Decision::order(
                Order::Promise(Promise {
                    epoch,
                    ..node.promise_now()
                }),
                Reason::Recruited {
                    epoch,
                    coordinator: by.clone(),
                },
            )
        })
    },
};

pub(super) const REFUSE: Rule = Rule {
    name: "recruit: refuse",
    why: "a coordinator whose epoch was outdone in a promise raises it above that",
    decide: |node| {
        let to = node.refuse.as_ref()?;
        let promised = node.promise.epoch;
        let refused = Message::Refused { promised };
        let reason = Reason::PromisedHigher { promised };
        Some(Decision::tell([to], &refused, reason).and(Mark::Refused))
    },
};

pub(super) const STOP: Rule = Rule {
    name: "recruit: stop the primary",
    why: "a leader that is recruited acknowledges nothing more",
    decide: |node| {
        let Duty::Recruit { epoch, .. } = node.duty() else {
            return None;
        };
        let stops = node.may_acknowledge() && node.guards.has(Guard::StopRecruitedLeader);
        stops.then(|| {
            node.order_server(Order::Stop(Stop::Immediate), Reason::Superseded { epoch })
        })?
    },
};

pub(super) const STOP_RECEIVING: Rule = Rule {
    name: "recruit: stop receiving",
    why: "the former leader acknowledges nothing by this node any more, and its WAL has an end",
    decide: |node| {
        let Duty::Recruit { epoch, .. } = node.duty() else {
            return None;
        };
        let receives = node.standby()?.follows.is_some();
        receives.then(|| node.order_server(Order::StopReceiving, Reason::Recruiting { epoch }))?
    },
};

pub(super) const START: Rule = Rule {
    name: "recruit: start in recovery",
    why: "where the WAL of a server ends that was not shut down is known once it has recovered",
    decide: |node| {
        let Duty::Recruit { epoch, .. } = node.duty() else {
            return None;
        };
        let stopped = matches!(node.server, Some(ServerFacts::Stopped { .. }));
        let start = Order::StartStandby { follow: None };
        (stopped && node.clean_end().is_none() && !node.was_promoted_by_hand())
            .then(|| node.order_server(start, Reason::Recruiting { epoch }))?
    },
};

pub(super) const TAKE_PART: Rule = Rule {
    name: "recruit: note whose WAL is fetched",
    why: "what comes of a reign without its rule can't be told from other WAL afterwards",
    decide: |node| {
        let Duty::Recruit { epoch, .. } = node.duty() else {
            return None;
        };
        let fetch = node.fetch.as_ref().filter(|fetch| fetch.epoch == epoch)?;
        let due = node.must_note(fetch.unruled) && node.standby()?.settled;
        due.then(|| {
            let reason = Reason::WalIsElsewhere {
                holder: fetch.from.clone(),
                upto: fetch.upto,
            };
            node.note_of(fetch.unruled, reason)
        })
    },
};

pub(super) const FETCH: Rule = Rule {
    name: "recruit: fetch WAL",
    why: "what only a node has that may not lead can have been acknowledged",
    decide: |node| {
        let fetch = node.fetch.as_ref()?;
        let Duty::Recruit { epoch, .. } = node.duty() else {
            return None;
        };
        let noted = fetch.unruled.is_none() || node.promise.followed == fetch.unruled;
        let ready = epoch == fetch.epoch && noted && node.standby()?.settled;
        let order = Order::FetchWal {
            from: fetch.from.clone(),
            upto: fetch.upto,
        };
        let reason = Reason::WalIsElsewhere {
            holder: fetch.from.clone(),
            upto: fetch.upto,
        };
        ready.then(|| node.order_server(order, reason))?
    },
};

pub(super) const ANSWER: Rule = Rule {
    name: "recruit: answer",
    why: "the coordinator compares where the WAL of its recruits ends",
    decide: |node| {
        let Duty::Recruit {
            epoch,
            by: Some(by),
        } = node.duty()
        else {
            return None;
        };
        let durable = node.promise.epoch >= epoch || !node.guards.has(Guard::PersistBeforeSaying);
        let answered = node.answered.as_ref() == Some(&(epoch, by.clone()));
        if !durable || answered || node.lanes.server.order.is_some() {
            return None;
        }
        let wal = node.last_word()?;
        let reason = Reason::Recruited {
            epoch,
            coordinator: by.clone(),
        };
        if *by == node.name {
            let coordinates = node.election.epoch == epoch;
            return coordinates.then(|| Decision::note(Mark::Counted { wal }, reason));
        }
        let answer = Message::Recruited { epoch, wal };
        Some(Decision::tell([by], &answer, reason).and(Mark::Answered {
            epoch,
            to: by.clone(),
        }))
    },
};

impl Node {
    /// Whether it has to become durable, and can, that this node takes part in that WAL.
    pub(crate) fn must_note(&self, followed: Option<Followed>) -> bool {
        followed.is_some() && self.promise.followed != followed && self.promise_is_free()
    }

    /// Has it made durable.
    pub(crate) fn note_of(&self, followed: Option<Followed>, reason: Reason) -> Decision {
        let promise = Promise {
            followed,
            ..self.promise_now()
        };
        Decision::order(Order::Promise(promise), reason)
    }

    /// What is promised, with the highest rule that is known to be in the WAL.
    pub(crate) fn promise_now(&self) -> Promise {
        Promise {
            rule: self.promise.rule.max(self.rule_seen.unwrap_or_default()),
            ..self.promise
        }
    }
}
