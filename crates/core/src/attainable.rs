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
    let wanted = usize::try_from(desired.count).unwrap_or(usize::MAX);
    let mut standbys: Vec<(&NodeName, bool)> = candidates(record, leader)
        .into_iter()
        .map(|name| (name, is_there(name)))
        .collect();
    let there = standbys.iter().filter(|(_, there)| *there).count();
    // Names of those that are away fill up what is missing: commits wait for them.
    let mut fillers = match desired.when_short {
        WhenShort::Block => wanted.saturating_sub(there),
        WhenShort::Degrade => 0,
    };
    standbys.retain(|(_, there)| {
        let fills = !there && fillers > 0;
        fillers -= usize::from(fills);
        *there || fills
    });
    let count = u32::try_from(standbys.len().min(wanted)).unwrap_or(u32::MAX);
    match (count, desired.when_short) {
        (0, WhenShort::Block) => None,
        (0, WhenShort::Degrade) => Some(Policy::asynchronous()),
        (count, _) => Some(Policy {
            method: desired.method,
            count,
            standbys: standbys.into_iter().map(|(name, _)| name.clone()).collect(),
        }),
    }
}

/// Who may be a standby of that leader, in the order that the method wants. If the operator's
/// standbys are none but the leader itself, all others may be: commits shall wait.
fn candidates<'a>(record: &'a Record, leader: &NodeName) -> Vec<&'a NodeName> {
    let desired = &record.desired;
    let is_other = |name: &&NodeName| *name != leader && record.members.contains_key(*name);
    let mut names: Vec<&NodeName> = desired.standbys.iter().flatten().filter(is_other).collect();
    if names.is_empty() {
        names = record.members.keys().filter(is_other).collect();
    }
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
    names
}
