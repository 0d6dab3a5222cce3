//! Whether a node's WAL is a part of the leader's.

use manada_model::Lsn;

use crate::position::{Epoch, Position};
use crate::record::{REIGNS_MAX, Reign};

/// A node's WAL beside the leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// All of it is in the leader's.
    Part,
    /// Some of it is not.
    Diverged {
        /// Where they part, as far as it can be told.
        at: Option<Lsn>,
        /// Both may have been promoted to the same timeline id: `pg_rewind` would believe that
        /// nothing is to be done.
        must_clone: bool,
    },
}

/// How the WAL of a node at that position stands to the history with those reigns. `led` is the
/// last epoch in which it set out to lead.
pub fn relation(position: Position, led: Option<Epoch>, reigns: &[Reign]) -> Relation {
    let own = position.rule.epoch.max(Epoch::FIRST);
    let is_reign = |epoch: Epoch| reigns.iter().any(|reign| reign.epoch == epoch);
    // A rule above `led` came from a later leader, of whose history it was found to be a part.
    if led.is_some_and(|led| led > own && !is_reign(led)) {
        return Relation::Diverged {
            at: None,
            must_clone: true,
        };
    }
    let next = reigns.iter().find(|reign| reign.epoch > own);
    // A rule of a lost reign, own or received: its timeline may have been taken again. WAL without
    // any rule is of the first reign.
    if !is_reign(own) {
        return Relation::Diverged {
            at: None,
            must_clone: true,
        };
    }
    match next {
        Some(next) if position.flush_lsn > next.began_at.flush_lsn => Relation::Diverged {
            at: Some(next.began_at.flush_lsn),
            must_clone: false,
        },
        Some(_) | None => Relation::Part,
    }
}

/// The reigns whose rules are in the WAL of a node at that position.
pub fn reigns_upto(reigns: &[Reign], position: Position) -> Vec<Reign> {
    let own = position.rule.epoch.max(Epoch::FIRST);
    reigns
        .iter()
        .filter(|reign| reign.epoch <= own)
        .cloned()
        .collect()
}

/// The same with the one that begins there.
pub fn reigns_with(reigns: &[Reign], next: Reign) -> Vec<Reign> {
    let mut reigns = reigns_upto(reigns, next.began_at);
    reigns.push(next);
    let surplus = reigns.len().saturating_sub(REIGNS_MAX);
    reigns.drain(..surplus);
    reigns
}
