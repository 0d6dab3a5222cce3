//! Timelines, and positions that know theirs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Lsn;

/// A timeline id: PostgreSQL starts at 1 and adds one at each promotion.
///
/// It is not an epoch: two nodes promoted apart can carry the same id over different histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimelineId(pub u32);

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A WAL position together with the timeline it lies on.
///
/// There is no `<` here: after a fork, "further" has no answer without the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WalPosition {
    /// The timeline the position lies on.
    pub timeline: TimelineId,
    /// The position on that timeline.
    pub lsn: Lsn,
}

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on timeline {}", self.lsn, self.timeline)
    }
}
