//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::kind::Kind;
use crate::checker::Violation;
use crate::herd::NotWhole;

/// How long a herd may take to become whole after a fault is over.
pub(super) const WHOLE_MAX: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// How often each fault happened.
    pub faults: BTreeMap<Kind, Count>,
    /// How many writes were acknowledged.
    pub acknowledged: usize,
    /// How many of them were lost where that was allowed and was said.
    pub lost_and_said: usize,
    /// How many reads were answered.
    pub reads: usize,
    /// How many reigns there were.
    pub reigns: usize,
    /// How long it took each time until the herd was whole, the shortest first.
    pub whole: Vec<Duration>,
    /// What was not as it must be.
    pub broken: Vec<Broken>,
    /// Where the evidence is.
    pub kept: Option<PathBuf>,
}

/// How often a fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How often in all.
    pub struck: u32,
    /// How often it was seen that something was hit: a full disk that nobody writes to is none.
    pub bit: u32,
}

/// What must not be.
#[derive(Clone, Debug)]
pub enum Broken {
    /// The checker found it.
    Promise(Violation),
    /// The herd did not become whole.
    NotWhole(NotWhole),
    /// A stall that must not cause a failover did.
    FailedOver(Kind),
    /// More was lost than the nodes have saved and described.
    LossNotSaid {
        /// How many acknowledged writes.
        lost: usize,
        /// How many commits are described.
        said: u64,
    },
    /// The end could not be looked at.
    NoEnd(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Promise(violation) => violation.fmt(f),
            Broken::NotWhole(why) => write!(f, "not whole after {WHOLE_MAX:?}: {why}"),
            Broken::FailedOver(kind) => write!(f, "{kind:?} caused a failover"),
            Broken::LossNotSaid { lost, said } => {
                write!(f, "{lost} acknowledged writes are lost, {said} were said")
            }
            Broken::NoEnd(why) => write!(f, "the end can't be looked at: {why}"),
        }
    }
}
