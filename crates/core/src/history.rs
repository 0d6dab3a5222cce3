//! Whether a node's WAL is a part of the leader's.

use manada_model::Lsn;

use crate::position::{Epoch, LastWord, Position};
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

/// How a node's WAL stands to the history with those reigns. `led` is the last epoch in which it set
/// out to lead.
pub fn relation(wal: LastWord, led: Option<Epoch>, reigns: &[Reign]) -> Relation {
    let LastWord { position, unruled } = wal;
    let own = position.rule.epoch.max(Epoch::FIRST);
    let is_reign = |epoch: Epoch| reigns.iter().any(|reign| reign.epoch == epoch);
    let after = |epoch: Epoch| reigns.iter().find(move |reign| reign.epoch > epoch);
    let taken_over = after(own).and_then(|next| next.unruled);
    let is_taken_over = |epoch: Epoch| taken_over.is_some_and(|unruled| unruled.epoch == epoch);
    // A rule above `led` came from a later leader, of whose history it was found to be a part.
    if led.is_some_and(|led| led > own && !is_reign(led) && !is_taken_over(led)) {
        return Relation::Diverged {
            at: None,
            must_clone: true,
        };
    }
    // A rule of a lost reign, own or received: its timeline may have been taken again. WAL without
    // any rule is of the first reign.
    if !is_reign(own) {
        return Relation::Diverged {
            at: None,
            must_clone: true,
        };
    }
    let limit = match unruled {
        // It has WAL of a reign whose rule has come to others.
        Some(unruled) if is_reign(unruled.epoch) => {
            after(unruled.epoch).map(|next| next.followed().from)
        }
        Some(unruled) if is_taken_over(unruled.epoch) => {
            after(own).map(|next| next.began_at.flush_lsn)
        }
        // The end alone tells nothing: what an old leader has written there may be longer.
        Some(unruled) => {
            return Relation::Diverged {
                at: Some(unruled.from),
                must_clone: true,
            };
        }
        None => after(own).map(|next| next.followed().from),
    };
    match limit {
        Some(limit) if position.flush_lsn > limit => Relation::Diverged {
            at: Some(limit),
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
