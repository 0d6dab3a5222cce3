//! Why what might be expected does not happen, and so what would unblock it.

use std::time::Duration;

use manada_model::{NodeName, StartTrouble};
use serde::{Deserialize, Serialize};

use crate::action::Rung;
use crate::policy::Published;
use crate::position::Epoch;

/// What commits wait for is set by somebody else, in a place that wins over the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForeignSetting {
    /// What `synchronous_standby_names` is.
    pub value: String,
    /// Where it is set.
    pub place: SettingPlace,
}

/// Where a setting is made that wins over the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingPlace {
    /// A line that the server reads after the agent's own file.
    Line {
        /// The file.
        file: String,
        /// The line's number, from 1.
        line: u32,
    },
    /// An option that the postmaster was started with.
    CommandLine,
}

/// Why no failover, no change or no rejoin happens here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "obstacle")]
pub enum Obstacle {
    /// The store has no record that this node has seen.
    NoRecord,
    /// The record does not have this node.
    NotAMember,
    /// Commits wait for what somebody else says.
    ForeignSetting {
        /// Who says what.
        setting: ForeignSetting,
        /// Whether the server is a primary, so that commits wait for it now; else it is not
        /// promoted.
        is_primary: bool,
    },
    /// The operator has paused the herd. `resume` unblocks it.
    Paused,
    /// The store does not answer: no failover, no change of the policy.
    StoreUnreachable,
    /// The store has lost the herd's record, or has an older one than this node knows: no failover,
    /// no change of the policy. `recover` unblocks it.
    RecordLost,
    /// The store answers and refuses: no failover, no change of the policy, no sign of life.
    StoreRefuses {
        /// Its words, as far as they are known.
        said: Option<String>,
    },
    /// The lease holds: the leader's agent is alive.
    LeaseHolds {
        /// Who leads.
        leader: NodeName,
        /// How long after its last sign of life it is suspected.
        holds_for: Duration,
    },
    /// The lease has lapsed, but the leader's server answers and takes writes.
    LeaderAnswers {
        /// Who leads.
        leader: NodeName,
    },
    /// The leader's server is being asked.
    AskingLeader {
        /// Who leads.
        leader: NodeName,
    },
    /// Others campaign before this node.
    NotMyTurn {
        /// How many.
        before: usize,
    },
    /// A server of priority 0, or a witness.
    NeverLeads,
    /// Somebody else than the agent has made its server a primary: it does not count, and is
    /// cloned.
    PromotedByHand,
    /// The recruits meet too few of those that may have acknowledged a commit.
    NotCovered {
        /// The policy that is not covered.
        published: Published,
        /// Who has been recruited.
        recruits: Vec<NodeName>,
        /// Whose answers would help.
        missing: Vec<NodeName>,
        /// How many of them must answer, unless the policy's leader does.
        needed: Option<usize>,
    },
    /// No recruit has said yet where its WAL ends: each stops receiving, and replays what it has.
    AwaitingRecruits {
        /// Who is asked.
        of: Vec<NodeName>,
    },
    /// No recruit may lead.
    NobodyMayLead,
    /// More WAL would be lost than is allowed. `failover --allow-data-loss` sets the bound.
    LossTooLarge {
        /// What would be lost; `None` where nobody knows, so that no number of bytes is enough.
        bytes: Option<u64>,
        /// What is allowed.
        bound: u64,
    },
    /// An asynchronous leader may still acknowledge commits until its lease has lapsed.
    AwaitingLeaseEnd {
        /// Whose.
        leader: NodeName,
    },
    /// WAL that only a node has which may not lead is being fetched.
    FetchingWal {
        /// Who has it.
        from: NodeName,
        /// Who fetches it.
        by: NodeName,
    },
    /// A higher epoch is promised than the record has: the record is late, or will be raised.
    PromisedHigher {
        /// What is promised.
        promised: Epoch,
        /// What the record has.
        recorded: Epoch,
    },
    /// Too few of the policy's standbys stream: commits wait.
    TooFewStandbys {
        /// How many stream.
        streaming: usize,
        /// How many are needed.
        needed: u32,
        /// Who does not.
        away: Vec<NodeName>,
    },
    /// The quorum does not have all that clients may see, so the gate is closed.
    QuorumBehind {
        /// Who has not.
        behind: Vec<NodeName>,
    },
    /// The policy that is wanted can't be had with the standbys that stream.
    PolicyUnattainable {
        /// How many standbys are wanted.
        wanted: u32,
        /// How many there are.
        available: usize,
    },
    /// The command is one for the leader.
    NotTheLeader {
        /// Who leads, if anybody.
        leader: Option<NodeName>,
    },
    /// The node that shall take over does not stream, is too far behind, or may not lead.
    SuccessorUnfit {
        /// Who.
        successor: Option<NodeName>,
        /// Why.
        unfit: Unfit,
    },
    /// The standby has not streamed for so long that its data is brought back as if it had diverged.
    ReceivesNothing {
        /// Whom it follows.
        leader: NodeName,
    },
    /// The leader has not begun its reign: there is nothing to rejoin yet.
    LeaderNotReady {
        /// Who leads.
        leader: NodeName,
    },
    /// The WAL has parted from the leader's history, and so many tries have failed that the next
    /// ones are few. `resume` gives new ones at once.
    RejoinBudgetSpent {
        /// The last means that was tried.
        rung: Rung,
        /// How often in all.
        tries: u32,
    },
    /// The server starts, and takes no connections yet.
    ServerStarts {
        /// For how long.
        took: Duration,
    },
    /// The server does not start.
    StartFails {
        /// How often it was tried in a row.
        failures: u32,
        /// What keeps it, as far as it is known.
        #[serde(default)]
        trouble: Option<StartTrouble>,
    },
    /// What was tried has failed, and is tried again after a pause.
    Retrying {
        /// How often it has failed in a row.
        failures: u32,
    },
}

/// Why a node can't take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// It is not a member.
    Unknown,
    /// It leads already.
    Leads,
    /// It never leads.
    NeverLeads,
    /// It does not stream.
    NotStreaming,
    /// It is further behind than a handover waits for.
    Behind,
    /// There is none that could.
    Nobody,
}
