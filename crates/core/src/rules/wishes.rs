//! What operators want written into the record, and telling others of a change.

use super::{Decision, Mark, Rule};
use crate::action::Order;
use crate::input::Command;
use crate::message::Message;
use crate::node::Node;
use crate::reason::Reason;
use crate::record::{Mode, Record};

pub(super) const TELL_RECORD: Rule = Rule {
    name: "record: tell of a change",
    why: "nobody waits for the store's word",
    decide: |node| {
        let record = node.record.as_ref()?;
        if !node.tell_record {
            return None;
        }
        let others = record
            .value
            .members
            .keys()
            .filter(|name| **name != node.name);
        let recorded = Message::Recorded {
            record: record.clone(),
        };
        Some(Decision::tell(others, &recorded, Reason::RecordChanged).and(Mark::Told))
    },
};

pub(super) const GRANT: Rule = Rule {
    name: "record: write what the operator wants",
    why: "a wish holds for all nodes, and outlives this one",
    decide: |node| {
        let wish = node.wishes.front()?;
        let record = &node.record.as_deref()?.value;
        let next = granted(record, wish);
        if next.as_ref().is_none_or(|next| next == record) {
            return Some(Decision::note(Mark::WishGranted, Reason::OperatorAsked));
        }
        node.store_is_free()
            .then(|| Some(node.swap(next?, Reason::OperatorAsked)))?
    },
};

/// The record as that command wants it; `None` for commands that are about no record.
fn granted(record: &Record, wish: &Command) -> Option<Record> {
    let mut next = record.clone();
    match wish {
        Command::Pause => next.mode = Mode::Paused,
        Command::Resume => next.mode = Mode::Automatic,
        Command::SetPolicy(desired) => next.desired = desired.clone(),
        Command::Admit { name, role } => {
            next.members.insert(name.clone(), *role);
        }
        // Who leads stays: it has to hand over first.
        Command::Forget { name } if record.leader.as_ref() != Some(name) => {
            next.members.remove(name);
        }
        Command::Forget { .. } => {}
        Command::Switchover { .. } | Command::Failover { .. } | Command::AgentRestarts => {
            return None;
        }
    }
    Some(next)
}

impl Node {
    /// Swaps the record that is known for the next one.
    pub(crate) fn swap(&self, next: Record, reason: Reason) -> Decision {
        let expected = self
            .record
            .as_deref()
            .map(|record| record.revision)
            .unwrap_or_default();
        Decision::order(
            Order::Swap {
                expected,
                record: Box::new(next),
            },
            reason,
        )
    }
}
