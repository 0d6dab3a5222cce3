//! The rules, in their order: after each input the first that applies decides, until none does.
//!
//! They look at facts alone, never at what was ordered: an order that failed, or whose outcome is
//! not known, leaves the facts as they were, and is given again after a pause.

use manada_model::NodeName;

use crate::action::Order;
use crate::message::Message;
use crate::node::{Node, Resignation};
use crate::position::{Epoch, LastWord};
use crate::reason::Reason;

mod election;
mod following;
mod handover;
mod leading;
mod policy_change;
mod promotion;
mod recruiting;
mod rejoining;
mod wishes;

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Why there is such a rule.
    pub why: &'static str,
    pub(crate) decide: fn(&Node) -> Option<Decision>,
}

/// What a rule decides.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) orders: Vec<Order>,
    pub(crate) reason: Reason,
    pub(crate) mark: Option<Mark>,
}

/// What is to be remembered of a decision, where no fact will show it.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    Refused,
    Answered {
        epoch: Epoch,
        to: NodeName,
    },
    /// The coordinator is its own recruit.
    Counted {
        wal: LastWord,
    },
    Asked,
    FetchOrdered {
        by: NodeName,
        from: NodeName,
        wal: LastWord,
    },
    Told,
    Resigned(Resignation),
    HandoverBegun {
        successor: NodeName,
    },
    CommandDropped,
    WishGranted,
    RestartSaid,
    /// The leader's answer has served its purpose.
    AnswerUsed,
}

/// All of them, in their order.
pub const RULES: &[Rule] = &[
    // What a recruit owes comes before everything: by it others know what was acknowledged.
    recruiting::PROMISE,
    recruiting::REFUSE,
    recruiting::STOP,
    recruiting::STOP_RECEIVING,
    recruiting::START,
    recruiting::TAKE_PART,
    recruiting::FETCH,
    recruiting::ANSWER,
    // What others wait for.
    wishes::TELL_RECORD,
    leading::RESIGN,
    // Elections.
    election::PROBE,
    election::CAMPAIGN,
    election::RAISE,
    election::ASK,
    election::LET_FETCH,
    election::CHOOSE,
    // What makes a leader harmless.
    leading::STOP_HUNG,
    leading::STOP_ISOLATED,
    leading::STOP_LAPSED,
    leading::WITHDRAW,
    leading::RENEW,
    leading::ARM_DEADMAN,
    leading::DISARM_DEADMAN,
    // The way to a reign.
    promotion::PROMISE,
    promotion::STOP_UNPROMISED,
    promotion::START,
    promotion::STOP_RECEIVING,
    promotion::PROMOTE,
    promotion::CLOSE,
    promotion::HOLD_COMMITS,
    // A reign.
    leading::REOPEN,
    handover::GIVE_UP,
    handover::CHECKPOINT,
    handover::CLOSE,
    handover::CLOSE_AGAIN,
    handover::STOP,
    handover::STOP_STALLED,
    wishes::GRANT,
    policy_change::PUBLISH_FOREIGN,
    policy_change::PUBLISH,
    policy_change::ENFORCE,
    policy_change::WRITE_RULE,
    policy_change::CONCLUDE,
    leading::OPEN,
    leading::REMEMBER_RULE,
    // Those who follow.
    following::STOP,
    following::LEAVE_FORMER,
    following::PROMISE,
    following::START,
    following::TAKE_PART,
    rejoining::ASK_LEADER,
    rejoining::REJOIN,
    rejoining::CLEANSE,
    following::FOLLOW,
];

impl Decision {
    /// One order.
    pub(crate) fn order(order: Order, reason: Reason) -> Decision {
        Decision {
            orders: vec![order],
            reason,
            mark: None,
        }
    }

    /// A message to each of them.
    pub(crate) fn tell<'a>(
        whom: impl IntoIterator<Item = &'a NodeName>,
        message: &Message,
        reason: Reason,
    ) -> Decision {
        let send = |to: &NodeName| Order::Send {
            to: to.clone(),
            message: message.clone(),
        };
        Decision {
            orders: whom.into_iter().map(send).collect(),
            reason,
            mark: None,
        }
    }

    /// Something to remember with it.
    pub(crate) fn and(self, mark: Mark) -> Decision {
        Decision {
            mark: Some(mark),
            ..self
        }
    }

    /// Only something to remember.
    pub(crate) fn note(mark: Mark, reason: Reason) -> Decision {
        Decision {
            orders: Vec::new(),
            reason,
            mark: Some(mark),
        }
    }
}
