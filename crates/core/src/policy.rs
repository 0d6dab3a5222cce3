//! What commits wait for, and how many nodes must be recruited to be sure of every acknowledged
//! one.

use std::collections::BTreeSet;

use manada_model::{NodeName, SyncMethod};
use serde::{Deserialize, Serialize};

/// What a leader's commits wait for. `count` 0 is asynchronous; then there are no standbys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// How the standbys are chosen.
    pub method: SyncMethod,
    /// How many of them must have a commit, *k*; never more than there are.
    pub count: u32,
    /// Which, *S*: in the order of priority for `FIRST`, of their names for `ANY`.
    pub standbys: Vec<NodeName>,
}

/// A policy that is or may come to be in force, and whose commits it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Published {
    /// The leader; it has every commit that it ever acknowledged, so it is never one of `standbys`,
    /// but for [`Published::by_itself`].
    pub leader: NodeName,
    /// What its commits wait for.
    pub policy: Policy,
}

impl Policy {
    /// Commits wait for nobody.
    pub fn asynchronous() -> Policy {
        Policy {
            method: SyncMethod::Any,
            count: 0,
            standbys: Vec::new(),
        }
    }

    /// Whether commits wait for somebody.
    pub fn is_synchronous(&self) -> bool {
        self.count > 0
    }

    /// How many of `standbys` must be recruited so that the rest is fewer than `count`:
    /// *m - k + 1*. `None` where the policy is asynchronous: no number is enough.
    ///
    /// `FIRST` is counted as `ANY`: who acknowledges depends on who streams at the time, so every
    /// *k* of the names may have been the ones, and each acknowledging set has *k* of them.
    pub fn recruits_needed(&self) -> Option<usize> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        self.is_synchronous()
            .then(|| self.standbys.len() + 1 - count)
    }
}

/// What a commit may have waited for while walsenders go over from one of these policies to
/// another: the fewest that one of them asks for, of all their names. `None` where none of them
/// is synchronous.
///
/// Each walsender reads the settings by itself, and counts with its own copy whoever another one
/// still gives a priority in shared memory: one that has `ANY 1 (x, y)` already can release a commit
/// for the flush of *z*, whose own walsender has still `ANY 2 (x, y, z)`. *x* and *y* cover both, and
/// miss *z*.
///
/// Source: PostgreSQL's `syncrep.c`, `SyncRepReleaseWaiters` and `SyncRepGetCandidateStandbys`.
pub fn mixture<'a>(policies: impl Iterator<Item = &'a Policy>) -> Option<Policy> {
    let mut count = None;
    let mut standbys = BTreeSet::new();
    for policy in policies.filter(|policy| policy.is_synchronous()) {
        count = Some(count.map_or(policy.count, |least: u32| least.min(policy.count)));
        standbys.extend(policy.standbys.iter().cloned());
    }
    Some(Policy {
        method: SyncMethod::Any,
        count: count?,
        standbys: standbys.into_iter().collect(),
    })
}

impl Published {
    /// What nobody covers but `node` itself, whatever it may have acknowledged and for whom: for an
    /// election that must not take place without it.
    pub fn by_itself(node: NodeName) -> Published {
        Published {
            leader: node.clone(),
            // An asynchronous policy would let an election go on once a lease has lapsed.
            policy: Policy {
                method: SyncMethod::Any,
                count: 1,
                standbys: vec![node],
            },
        }
    }

    /// Whether the recruits meet every set of nodes that can ever have acknowledged a commit under
    /// this policy, and leave too few to acknowledge another.
    ///
    /// The leader is in every such set, and acknowledges nothing once it is recruited itself.
    pub fn is_covered_by(&self, recruits: &BTreeSet<NodeName>) -> bool {
        self.is_met_by(&|name| recruits.contains(name))
    }

    /// The same, where the recruits are not a set of their own.
    pub(crate) fn is_met_by(&self, is_recruited: &impl Fn(&NodeName) -> bool) -> bool {
        if is_recruited(&self.leader) {
            return true;
        }
        let met = self
            .policy
            .standbys
            .iter()
            .filter(|name| is_recruited(name))
            .count();
        self.policy
            .recruits_needed()
            .is_some_and(|needed| met >= needed)
    }
}
