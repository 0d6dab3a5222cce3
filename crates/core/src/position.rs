//! Epochs, rules, and where a node's WAL is.

use std::fmt;

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// The number of a reign. It only grows, and at most one node leads in each.
///
/// A timeline id is not an epoch: two nodes that were promoted apart can carry the same one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The reign of the server around which the herd was made. WAL without any rule is of it.
    pub const FIRST: Epoch = Epoch(1);

    /// The one after it.
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which rule: the epoch, and how many the leader has written in it before.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RuleId {
    /// The reign.
    pub epoch: Epoch,
    /// 0 for the one with which the reign begins, then one more for each change of the policy.
    pub sub: u32,
}

/// A row of `manada.rule`: written into the WAL by a leader, so that a node that has it has all
/// the WAL before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Which.
    pub id: RuleId,
    /// Who leads.
    pub leader: NodeName,
    /// What its commits wait for from here on.
    pub policy: Policy,
}

/// Where a node's WAL is: the highest rule in it, then the end of what is durable. Positions of
/// nodes that were recruited are compared in that order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The highest rule in its WAL.
    pub rule: RuleId,
    /// The end of what is flushed.
    pub flush_lsn: Lsn,
}

/// In whose WAL a node has taken part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Followed {
    /// The reign.
    pub epoch: Epoch,
    /// Where it parted from the reigns whose rules are in its leader's WAL: what a node has beyond
    /// is a part of that leader's, also while the rule has not come.
    pub from: Lsn,
}

/// What is known of all WAL that a node has, once nothing more comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LastWord {
    /// Where it ends.
    #[serde(flatten)]
    pub position: Position,
    /// A reign above the highest rule, some of whose WAL it has: that reign's leader was promoted,
    /// and its rule did not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unruled: Option<Followed>,
}

impl LastWord {
    /// That of a node which followed, or led, in that reign last.
    pub fn of(position: Position, followed: Option<Followed>) -> LastWord {
        let own = position.rule.epoch.max(Epoch::FIRST);
        let unruled =
            followed.filter(|followed| followed.epoch > own && position.flush_lsn > followed.from);
        LastWord { position, unruled }
    }
}
