//! What would be lost if the primary died at this moment.

use std::time::Duration;

use serde::Serialize;

use super::{Node, Role, the_primary};
use crate::millis;
use crate::{
    Lsn, NodeState, PrimaryStatus, ServerStatus, Slot, StandbyName, SyncPolicy, SyncRule,
    SynchronousCommit,
};

/// What would be lost if the primary died now and the furthest standby took over.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Loss {
    /// No commit that was acknowledged under `synchronous_commit` of this level or a stronger one:
    /// each is on a standby that follows.
    NothingAcknowledged {
        /// The standby with the most WAL.
        best: String,
        /// The level commits have by default.
        level: SynchronousCommit,
    },
    /// Nothing at this moment: the standby has flushed all that the primary has. Replication is
    /// asynchronous, so the next commit has no such promise.
    NothingThisMoment {
        /// The standby with the most WAL.
        best: String,
    },
    /// What this standby has not flushed.
    UpTo {
        /// The standby with the most WAL.
        best: String,
        /// WAL it lacks.
        bytes: u64,
        /// How long ago the last transaction it has replayed was committed: nothing older is lost.
        #[serde(rename = "since_last_replayed_commit_ms", with = "millis::option")]
        since_last_replayed_commit: Option<Duration>,
    },
    /// Everything: no standby has the data.
    Everything,
    /// It can't be told.
    Unknown {
        /// Why.
        reason: UnknownLoss,
    },
}

/// Why the loss can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownLoss {
    /// No server answered.
    NothingAnswered,
    /// No primary answered.
    NoPrimary,
    /// More than one server takes writes.
    SeveralPrimaries,
    /// The role that asked may not see how far the standbys are.
    Hidden,
    /// There are standbys, and none that answered or is sent to.
    NoStandbyHeardOf,
}

/// Judges the loss. See "What would be lost" in `docs/design/sync.md` for the reasoning.
pub(super) fn if_primary_died(nodes: &[Node]) -> Loss {
    let unknown = |reason| Loss::Unknown { reason };
    let Some((_, status, primary)) = the_primary(nodes) else {
        let primaries = nodes.iter().filter(|node| node.role() == Role::Primary);
        return unknown(match primaries.count() {
            0 if nodes.iter().all(|node| node.status().is_none()) => UnknownLoss::NothingAnswered,
            0 => UnknownLoss::NoPrimary,
            _ => UnknownLoss::SeveralPrimaries,
        });
    };
    match best_standby(nodes, status) {
        Some((best, flush_lsn)) => with_standby(best, flush_lsn, status, primary),
        None if status
            .walsenders
            .iter()
            .any(|w| w.progress.shown().is_none()) =>
        {
            unknown(UnknownLoss::Hidden)
        }
        None if nodes.iter().any(|node| node.role() != Role::Primary) => {
            unknown(UnknownLoss::NoStandbyHeardOf)
        }
        None => Loss::Everything,
    }
}

/// The standby that could take over with the least loss: one that answers, or that the primary is
/// sending to, and that belongs to the primary's cluster and timeline.
fn best_standby<'a>(nodes: &'a [Node], primary: &ServerStatus) -> Option<(&'a Node, Lsn)> {
    let usable = nodes.iter().filter(|node| match &node.state {
        NodeState::Answered(status) => {
            status.standby().is_some()
                && status.system_identifier == primary.system_identifier
                && status
                    .timeline()
                    .is_none_or(|own| Some(own) == primary.timeline())
        }
        NodeState::Unreachable { .. } | NodeState::SeenByUpstream => applies_wal(node),
    });
    // Of several equals the first: the last maximum of the reverse.
    usable
        .rev()
        .filter_map(|node| Some((node, node.flush_lsn()?)))
        .max_by_key(|(_, flush_lsn)| *flush_lsn)
}

/// Whether a node that said nothing itself is a server: `pg_receivewal` never reports a replay
/// position, and cannot take over.
fn applies_wal(node: &Node) -> bool {
    node.walsender()
        .and_then(|walsender| walsender.progress.shown())
        .is_some_and(|progress| progress.replay_lsn.is_some())
}

fn with_standby(
    best: &Node,
    flush_lsn: Lsn,
    status: &ServerStatus,
    primary: &PrimaryStatus,
) -> Loss {
    let rule = status.policy.policy.as_ref().and_then(SyncPolicy::rule);
    let level = status.policy.synchronous_commit;
    let kept = rule.is_some_and(|rule| {
        level >= SynchronousCommit::RemoteWrite && keeps_acknowledged(rule, flush_lsn, status)
    });
    let best_name = best.name.clone();
    if kept {
        return Loss::NothingAcknowledged {
            best: best_name,
            level,
        };
    }
    match primary.flush_lsn.bytes_since(flush_lsn) {
        0 => Loss::NothingThisMoment { best: best_name },
        bytes => Loss::UpTo {
            best: best_name,
            bytes,
            since_last_replayed_commit: best.lag.and_then(|lag| lag.since_last_replayed_commit),
        },
    }
}

/// Whether every commit acknowledged under `rule` is at or below `best_flush_lsn`.
///
/// Each was flushed by `count` of the names. A name that streams now is no further than the best
/// one. A name that is away may hold more, unless its slot shows that it does not: the slot's
/// `restart_lsn` is the last flush its standby confirmed. While fewer than `count` names may hold
/// more, every acknowledging set has a member that doesn't.
fn keeps_acknowledged(rule: &SyncRule, best_flush_lsn: Lsn, primary: &ServerStatus) -> bool {
    let needed = usize::try_from(rule.count.get()).unwrap_or(usize::MAX);
    let streaming = super::links::streaming(primary)
        .filter(|walsender| rule.priority_of(&walsender.application_name).is_some())
        .count();
    let may_hold_more = rule
        .names
        .iter()
        .filter(|name| !name.is_wildcard())
        .filter(|name| {
            let here = super::links::streaming(primary)
                .any(|walsender| name.matches(&walsender.application_name));
            let behind = slot_of(name, &primary.slots)
                .and_then(|slot| slot.restart_lsn)
                .is_some_and(|confirmed| confirmed <= best_flush_lsn);
            !here && !behind
        })
        .count();
    streaming >= needed && may_hold_more < needed
}

/// The slot a herd holds for the node of that name.
fn slot_of<'a>(name: &StandbyName, slots: &'a [Slot]) -> Option<&'a Slot> {
    slots.iter().find(|slot| {
        slot.name
            .node()
            .is_some_and(|node| name.matches(node.as_str()))
    })
}
