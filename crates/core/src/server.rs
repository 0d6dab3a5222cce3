//! What is known of this host's own server.

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::position::{Epoch, Followed, LastWord, Position};
use crate::record::Record;

/// The server's state as of one look at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServerFacts {
    /// No postmaster runs. The next start is a recovery, unless it was shut down cleanly.
    Stopped {
        /// `pg_control` says that it was shut down, and where its WAL ends.
        clean_end: Option<Position>,
        /// Whether it was the primary when it ran last: there is no `standby.signal`.
        was_primary: bool,
    },
    /// There is nothing that could be started: no data, or what a broken-off rejoin left.
    Unusable,
    /// A postmaster runs, and takes no connections yet.
    Starting,
    /// A postmaster runs, and does not answer within the time it has.
    Unresponsive,
    /// It answers, and is in recovery.
    Standby(StandbyFacts),
    /// It answers, and takes writes.
    Primary(PrimaryFacts),
}

/// A standby.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StandbyFacts {
    /// The highest rule that it has replayed, and the end of what it has received and flushed.
    pub position: Position,
    /// Everything that it received is replayed, and no walreceiver runs: `position` is its last
    /// word.
    pub settled: bool,
    /// Whom `primary_conninfo` names.
    pub follows: Option<NodeName>,
    /// A walreceiver streams from there.
    pub streams: bool,
}

/// A primary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrimaryFacts {
    /// The highest rule in its WAL, and the end of what it has flushed.
    pub position: Position,
    /// Where its recovery ended when it was started or promoted: what is before may be shown to
    /// clients only once a quorum has it.
    pub recovery_end_lsn: Lsn,
    /// What `synchronous_standby_names` makes commits wait for.
    pub enforced: Enforced,
    /// Whether clients get in.
    pub gate: Gate,
    /// Who receives from it.
    pub followers: Vec<Follower>,
}

impl Promise {
    /// What is known of WAL that ends there.
    pub(crate) fn last_word(&self, position: Position) -> LastWord {
        LastWord::of(position, self.followed)
    }

    /// Whether it follows from a record that comes after this one: an epoch is raised before it is
    /// promised, and a node is chosen before it sets out to be promoted.
    pub(crate) fn is_later_than(&self, record: &Record) -> bool {
        record.epoch < self.epoch || (self.led == Some(record.epoch) && record.leader.is_none())
    }
}

impl PrimaryFacts {
    /// What is known of that follower. `followers` stand in the order of their names.
    pub(crate) fn follower(&self, name: &NodeName) -> Option<&Follower> {
        let at = self
            .followers
            .binary_search_by(|follower| follower.name.cmp(name));
        self.followers.get(at.ok()?)
    }
}

impl Enforced {
    /// Whether it is that policy.
    pub(crate) fn is(&self, policy: &Policy) -> bool {
        match self {
            Enforced::Policy(enforced) => enforced == policy,
            Enforced::Nobody | Enforced::Foreign => false,
        }
    }
}

/// What a primary's commits wait for at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Enforced {
    /// A name that nobody bears: no commit is acknowledged.
    Nobody,
    /// This.
    Policy(Policy),
    /// Something that the core did not order.
    Foreign,
}

/// Whether new clients get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// The server's own access rules decide.
    Open,
    /// Only the herd's roles and the administrator on the host.
    Closed,
}

/// A standby as the primary sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Follower {
    /// Its name.
    pub name: NodeName,
    /// Whether the walsender is in state `streaming`: only then it counts for commits.
    pub streaming: bool,
    /// Whether it has replied since the last look.
    pub replied: bool,
    /// What it has flushed.
    pub flush_lsn: Lsn,
}

/// What a node has promised. Durable before anything that follows from it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// It follows no leader of an earlier epoch, and acknowledges nothing in one.
    pub epoch: Epoch,
    /// The last epoch in which it set out to be promoted itself. If that reign is not in the
    /// leader's history, its WAL is not either.
    pub led: Option<Epoch>,
    /// The last epoch in which it received WAL, from its leader or as the leader.
    #[serde(default)]
    pub followed: Option<Followed>,
    /// The highest rule known to be in its WAL: for when its server can't be asked.
    pub rule: crate::position::RuleId,
}
