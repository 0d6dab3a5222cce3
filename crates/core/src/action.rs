//! What the core wants done.

use std::time::Duration;

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::position::Rule;
use crate::reason::Reason;
use crate::record::{Record, Revision};
use crate::server::{Enforced, Gate, Promise};
use crate::timer::Moment;

/// An action's number, by which its outcome is told: one of those that are under way. A number is
/// used again when the action that had it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub u64);

/// An order, the number under which its outcome is told, and why it is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Action {
    /// No other action that is under way has it.
    pub id: ActionId,
    /// What is to be done.
    pub order: Order,
    /// Why.
    pub reason: Reason,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Put the record in place of the one with that revision, or do nothing.
    Swap {
        /// What is there.
        expected: Revision,
        /// What shall be there.
        record: Box<Record>,
    },
    /// Give a sign of life, if the record still has that revision.
    RenewLease {
        /// What is there.
        expected: Revision,
        /// For how long the leader may be silent from now on.
        holds_for: Duration,
        /// The end of the WAL here.
        flush_lsn: Lsn,
    },
    /// Make a promise durable (`fsync`).
    Promise(Promise),
    /// Tell a peer. Its outcome is not waited for.
    Send {
        /// Whom.
        to: NodeName,
        /// What.
        message: Message,
    },
    /// Start the server in recovery, following that node or nobody.
    StartStandby {
        /// Whom.
        follow: Option<NodeName>,
    },
    /// Start the server as the primary it was: the gate closed, and no commit acknowledged.
    StartPrimary,
    /// Write a checkpoint, so that the clean stop that follows has little to write.
    Checkpoint,
    /// Stop the server.
    Stop(Stop),
    /// Follow nobody: no `primary_conninfo`, no `restore_command`, the walreceiver gone.
    StopReceiving,
    /// Follow that node.
    Follow {
        /// Whom.
        leader: NodeName,
    },
    /// Make this standby a primary: the gate closed, and no commit acknowledged.
    Promote,
    /// Write a rule into the WAL, without waiting for standbys.
    WriteRule(Rule),
    /// Have commits wait for this, and end once it is in force.
    Enforce(Enforced),
    /// Let clients in, or no more. Opening also starts archiving.
    SetGate(Gate),
    /// Bring this node's data back into the history of that leader.
    Rejoin {
        /// Whom it shall follow.
        leader: NodeName,
        /// Where the histories part, as far as it can be told. A rewind that finds nothing to do, or
        /// would keep WAL beyond this, has to fail: `pg_rewind` goes by timelines, and the same one
        /// may have been taken twice.
        diverged_at: Option<Lsn>,
        /// By what means.
        rung: Rung,
    },
    /// Fetch the WAL that only a node has which may not lead, up to there.
    FetchWal {
        /// The witness, or the server of priority 0.
        from: NodeName,
        /// Up to where.
        upto: Lsn,
    },
    /// Ask the leader's server whether it is well.
    ProbeLeader {
        /// Whose.
        leader: NodeName,
    },
    /// Have the server killed at that moment unless another is set before; `None` disarms.
    Deadman {
        /// When.
        deadline: Option<Moment>,
    },
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// Clients are sent away, a checkpoint is written, and standbys receive all of it. It fails
    /// if that has not happened within the time for a handover.
    Fast,
    /// At once: nothing more is written, sent or archived.
    Immediate,
}

/// The means by which a node comes back, the cheaper first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    /// `pg_rewind`, after the WAL that it erases was saved.
    Rewind,
    /// A new clone beside, which takes the place of the old data.
    Clone,
}
