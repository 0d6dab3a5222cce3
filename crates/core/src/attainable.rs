//! What can be had of the policy that the operator wants.

use manada_model::{NodeName, SyncMethod};

use crate::policy::Policy;
use crate::record::{MemberRole, Record, WhenShort};

/// The policy for that leader with the standbys that are there. `None` where commits shall wait
/// for somebody, and there is nobody for whom they could.
pub fn attainable(
    record: &Record,
    leader: &NodeName,
    is_there: impl Fn(&NodeName) -> bool,
) -> Option<Policy> {
    let desired = &record.desired;
    if desired.count == 0 {
        return Some(Policy::asynchronous());
    }
    let candidates = candidates(record, leader);
    let wanted = usize::try_from(desired.count).unwrap_or(usize::MAX);
    let there = candidates.iter().filter(|name| is_there(name)).count();
    let standbys: Vec<NodeName> = if there >= wanted {
        candidates
            .into_iter()
            .filter(is_there_ref(&is_there))
            .collect()
    } else {
        match desired.when_short {
            WhenShort::Degrade => candidates
                .into_iter()
                .filter(is_there_ref(&is_there))
                .collect(),
            WhenShort::Block => filled(candidates, is_there, wanted - there),
        }
    };
    let count = u32::try_from(standbys.len().min(wanted)).unwrap_or(u32::MAX);
    match (count, desired.when_short) {
        (0, WhenShort::Block) => None,
        (0, WhenShort::Degrade) => Some(Policy::asynchronous()),
        (count, _) => Some(Policy {
            method: desired.method,
            count,
            standbys,
        }),
    }
}

fn is_there_ref(is_there: &impl Fn(&NodeName) -> bool) -> impl FnMut(&NodeName) -> bool + '_ {
    |name| is_there(name)
}

/// Those that are there, and as many of the others as are missing, in their order.
fn filled(
    candidates: Vec<NodeName>,
    is_there: impl Fn(&NodeName) -> bool,
    mut missing: usize,
) -> Vec<NodeName> {
    candidates
        .into_iter()
        .filter(|name| {
            let fills = !is_there(name) && missing > 0;
            missing -= usize::from(fills);
            fills || is_there(name)
        })
        .collect()
}

/// Who may be a standby of that leader, in the order that the method wants.
fn candidates(record: &Record, leader: &NodeName) -> Vec<NodeName> {
    let desired = &record.desired;
    let mut names: Vec<&NodeName> = match &desired.standbys {
        Some(names) => names
            .iter()
            .filter(|name| record.members.contains_key(*name))
            .collect(),
        None => record.members.keys().collect(),
    };
    names.retain(|name| *name != leader);
    match desired.method {
        SyncMethod::Any => {
            names.sort();
            names.dedup();
        }
        SyncMethod::First if desired.standbys.is_none() => {
            names.sort_by_key(|name| match record.members.get(*name) {
                Some(MemberRole::Server { priority }) => (u8::MAX - priority, *name),
                Some(MemberRole::Witness) | None => (u8::MAX, *name),
            });
        }
        SyncMethod::First => {}
    }
    names.into_iter().cloned().collect()
}
