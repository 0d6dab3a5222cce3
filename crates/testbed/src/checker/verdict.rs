//! Each promise as a function over a history.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::history::{End, History, Read, Reign, Write, WriteOutcome};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An acknowledged write is not there at the end.
    #[error("write {number}, acknowledged by {node} after {ended:?}, is not in the final state")]
    Lost {
        /// Which.
        number: u64,
        /// By whom it was acknowledged.
        node: String,
        /// When.
        ended: Duration,
    },
    /// A confirmed read lacks what was acknowledged before.
    #[error("a read of {node} after {invoked:?} lacks write {number}, acknowledged before")]
    Missed {
        /// Which.
        number: u64,
        /// Whose read.
        node: String,
        /// When it was asked for.
        invoked: Duration,
    },
    /// Something is there that was refused, or never written.
    #[error("{number} is on {node}, and was refused or never written")]
    Phantom {
        /// Which.
        number: u64,
        /// Where it was seen.
        node: String,
    },
    /// What a primary had shown is gone.
    #[error("write {number}, seen after {seen:?}, is gone from {node}")]
    SeenThenLost {
        /// Which.
        number: u64,
        /// When it was first seen.
        seen: Duration,
        /// Where it is not.
        node: String,
    },
    /// A session does not find what it was acknowledged.
    #[error("session {session} had {acknowledged} acknowledged and found {found:?} on {node}")]
    SessionWentBack {
        /// The client.
        session: u32,
        /// Its highest acknowledged sequence.
        acknowledged: u32,
        /// What it found.
        found: Option<u32>,
        /// Where.
        node: String,
    },
    /// An earlier leader acknowledged a write that was asked for after a later one had led.
    #[error(
        "{node} acknowledged write {number}, asked for after {invoked:?}, when epoch {epoch} had \
         begun under another leader"
    )]
    TwoPrimaries {
        /// Which.
        number: u64,
        /// By whom.
        node: String,
        /// When it was asked for.
        invoked: Duration,
        /// The reign that had acknowledged a write before.
        epoch: u64,
    },
    /// Nodes hold different things.
    #[error("the nodes are not equal: {digests:?}")]
    NotEqual {
        /// What each one has.
        digests: BTreeMap<String, String>,
    },
}

impl Violation {
    /// Whether it is no more than what a loss of the end's is seen by: where acknowledged writes
    /// may be lost, a later read and the session that wrote lack them too. What was never
    /// written, two primaries at a time, and nodes that differ are no loss.
    pub fn follows_from_a_loss(&self, end: &End) -> bool {
        match self {
            Violation::Lost { .. } | Violation::SessionWentBack { .. } => true,
            Violation::Missed { number, .. } | Violation::SeenThenLost { number, .. } => {
                !end.state.contains(number)
            }
            Violation::Phantom { .. }
            | Violation::TwoPrimaries { .. }
            | Violation::NotEqual { .. } => false,
        }
    }
}

/// The node in a violation that is about the final state.
const FINAL_STATE: &str = "the final state";

impl History {
    /// All promises that were not kept.
    pub fn violations(&self, end: &End) -> Vec<Violation> {
        let mut found = self.lost(end);
        found.extend(self.missed());
        found.extend(self.phantoms(end));
        found.extend(self.seen_then_lost(end));
        found.extend(self.sessions_that_went_back());
        found.extend(self.two_primaries(&end.reigns));
        found.extend(not_equal(end));
        found
    }

    /// The writes that were acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Write> {
        self.writes
            .iter()
            .filter(|write| matches!(write.outcome, WriteOutcome::Acknowledged { .. }))
    }

    /// The acknowledged writes that are not there at the end.
    pub fn lost(&self, end: &End) -> Vec<Violation> {
        self.acknowledged()
            .filter(|write| !end.state.contains(&write.number))
            .map(|write| Violation::Lost {
                number: write.number,
                node: write.node.clone(),
                ended: write.ended,
            })
            .collect()
    }

    fn missed(&self) -> Vec<Violation> {
        let acknowledged: BTreeMap<u64, Duration> = self
            .acknowledged()
            .map(|write| (write.number, write.ended))
            .collect();
        let missed_by = |read: &Read| -> Vec<Violation> {
            acknowledged
                .range(read.from..)
                .filter(|(number, ended)| **ended <= read.invoked && !read.seen.contains(number))
                .map(|(number, _)| Violation::Missed {
                    number: *number,
                    node: read.node.clone(),
                    invoked: read.invoked,
                })
                .collect()
        };
        self.confirmed_reads().flat_map(missed_by).collect()
    }

    fn phantoms(&self, end: &End) -> Vec<Violation> {
        let possible: BTreeSet<u64> = self
            .writes
            .iter()
            .filter(|write| write.outcome != WriteOutcome::Refused)
            .map(|write| write.number)
            .collect();
        let seen = self
            .reads
            .iter()
            .flat_map(|read| read.seen.iter().map(|number| (*number, read.node.as_str())));
        let kept = end.state.iter().map(|number| (*number, FINAL_STATE));
        seen.chain(kept)
            .filter(|(number, _)| !possible.contains(number))
            .map(|(number, node)| Violation::Phantom {
                number,
                node: node.to_owned(),
            })
            .collect()
    }

    fn seen_then_lost(&self, end: &End) -> Vec<Violation> {
        let mut first_seen: BTreeMap<u64, Duration> = BTreeMap::new();
        for read in &self.reads {
            for number in &read.seen {
                let seen = first_seen.entry(*number).or_insert(read.ended);
                *seen = (*seen).min(read.ended);
            }
        }
        let gone = |number: u64, seen: Duration, node: &str| Violation::SeenThenLost {
            number,
            seen,
            node: node.to_owned(),
        };
        let mut found = Vec::new();
        for read in self.confirmed_reads() {
            let earlier = first_seen
                .range(read.from..)
                .filter(|(_, seen)| **seen <= read.invoked);
            found.extend(
                earlier
                    .filter(|(number, _)| !read.seen.contains(number))
                    .map(|(number, seen)| gone(*number, *seen, &read.node)),
            );
        }
        found.extend(
            first_seen
                .iter()
                .filter(|(number, _)| !end.state.contains(number))
                .map(|(number, seen)| gone(*number, *seen, FINAL_STATE)),
        );
        found
    }

    fn sessions_that_went_back(&self) -> Vec<Violation> {
        let mut writes: Vec<&Write> = self.writes.iter().collect();
        writes.sort_by_key(|write| (write.session, write.sequence));
        let mut found = Vec::new();
        // The highest sequence that the session knows to be there.
        let mut known: Option<(u32, u32)> = None;
        for write in writes {
            let WriteOutcome::Acknowledged { before } = write.outcome else {
                continue;
            };
            if let Some((session, acknowledged)) = known
                && session == write.session
                && before.is_none_or(|before| before < acknowledged)
            {
                found.push(Violation::SessionWentBack {
                    session,
                    acknowledged,
                    found: before,
                    node: write.node.clone(),
                });
            }
            known = Some((write.session, write.sequence));
        }
        found
    }

    /// Gives each acknowledged write the earliest reign that it can have been acknowledged in;
    /// one that has none is a violation.
    fn two_primaries(&self, reigns: &[Reign]) -> Vec<Violation> {
        if reigns.is_empty() {
            return Vec::new();
        }
        let mut by_invocation: Vec<&Write> = self.acknowledged().collect();
        by_invocation.sort_by_key(|write| write.invoked);
        // Acknowledgements that are still to be counted, the earliest first.
        let mut pending: BTreeSet<(Duration, u64)> = BTreeSet::new();
        let mut begun = 0;
        let mut found = Vec::new();
        for write in by_invocation {
            while let Some((ended, epoch)) = pending.first().copied()
                && ended < write.invoked
            {
                pending.pop_first();
                begun = begun.max(epoch);
            }
            let reign = reigns
                .iter()
                .filter(|reign| reign.leader == write.node && reign.epoch >= begun)
                .map(|reign| reign.epoch)
                .min();
            match reign {
                Some(epoch) => {
                    pending.insert((write.ended, epoch));
                }
                None => found.push(Violation::TwoPrimaries {
                    number: write.number,
                    node: write.node.clone(),
                    invoked: write.invoked,
                    epoch: begun,
                }),
            }
        }
        found
    }

    fn confirmed_reads(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(|read| read.confirmed)
    }
}

fn not_equal(end: &End) -> Option<Violation> {
    let different: BTreeSet<&String> = end.digests.values().collect();
    (different.len() > 1).then(|| Violation::NotEqual {
        digests: end.digests.clone(),
    })
}
