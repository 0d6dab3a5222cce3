//! The herd's record in the store: one value, changed by compare-and-swap alone.

use std::collections::BTreeMap;

use manada_model::{NodeName, SyncMethod};
use serde::{Deserialize, Serialize};

use crate::policy::{Policy, Published};
use crate::position::{Epoch, Followed, Position};

/// What the store holds, with the revision by which it is swapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// Grows with each change. Two values with the same revision are the same.
    pub revision: Revision,
    /// The value.
    pub value: T,
}

/// The store's number of a change.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Versioned<Record> {
    /// Its place among all records that the herd ever had.
    pub fn order(&self) -> (u32, Revision) {
        (self.value.recoveries, self.revision)
    }
}

/// The herd's record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// How often the herd was taken up again after its store had lost the record. It orders before
    /// the revision: another store, or an emptied one, counts from the beginning.
    #[serde(default)]
    pub recoveries: u32,
    /// The reign. Whoever has promised it follows nobody of an earlier one.
    pub epoch: Epoch,
    /// Who leads in it; `None` while the one who raised it is recruiting.
    pub leader: Option<NodeName>,
    /// Who raised the epoch.
    pub coordinator: NodeName,
    /// Every policy under which a commit that is not yet in the WAL of the leader's quorum may
    /// have been acknowledged, or may be. A failover must cover them all. Never empty.
    pub policies: Vec<Published>,
    /// The reigns whose rules are in the leader's WAL, oldest first, and where each began: by
    /// these a node knows whether its own WAL is a part of the leader's.
    pub reigns: Vec<Reign>,
    /// What the operator wants.
    pub desired: Desired,
    /// Whether the herd acts by itself.
    pub mode: Mode,
    /// Who belongs to it.
    pub members: BTreeMap<NodeName, MemberRole>,
}

impl Record {
    /// The first record of a herd, around a primary that runs. `policy` is what its commits wait
    /// for at this moment, or less.
    pub fn found(
        founder: NodeName,
        position: Position,
        policy: Policy,
        desired: Desired,
        members: BTreeMap<NodeName, MemberRole>,
    ) -> Record {
        Record {
            recoveries: 0,
            epoch: Epoch::FIRST,
            leader: Some(founder.clone()),
            coordinator: founder.clone(),
            policies: vec![Published {
                leader: founder.clone(),
                policy,
            }],
            reigns: vec![Reign {
                epoch: Epoch::FIRST,
                leader: founder,
                began_at: position,
                unruled: None,
            }],
            desired,
            mode: Mode::Automatic,
            members,
        }
    }
}

/// How many reigns a record remembers. A node that has been away for longer is cloned.
pub const REIGNS_MAX: usize = 64;

/// A leader's time, and where it began.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reign {
    /// Its number.
    pub epoch: Epoch,
    /// Who led.
    pub leader: NodeName,
    /// The end of the WAL it took over: what a node has beyond is not part of the history.
    pub began_at: Position,
    /// A reign that ended before its rule was written, and some of whose WAL this one took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unruled: Option<Followed>,
}

impl Reign {
    /// What whoever takes part in it has followed.
    pub(crate) fn followed(&self) -> Followed {
        let from = self
            .unruled
            .map_or(self.began_at.flush_lsn, |unruled| unruled.from);
        Followed {
            epoch: self.epoch,
            from,
        }
    }
}

/// What the operator wants commits to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Desired {
    /// How standbys are chosen.
    pub method: SyncMethod,
    /// How many must have a commit; 0 for asynchronous.
    pub count: u32,
    /// Among which; `None` for all members.
    pub standbys: Option<Vec<NodeName>>,
    /// What happens when there are too few.
    pub when_short: WhenShort,
}

/// What happens when fewer standbys are there than commits shall wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenShort {
    /// Commits wait.
    Block,
    /// Commits wait for fewer, in the end for none, and status says so.
    Degrade,
}

/// Whether the herd acts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It does.
    Automatic,
    /// It only acts when it is told to.
    Paused,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum MemberRole {
    /// A server.
    Server {
        /// Who is preferred among those with equal WAL: the higher. 0 never leads.
        priority: u8,
    },
    /// A receiver of WAL without a database: it counts, and never leads.
    Witness,
}
