//! Why an action is taken.

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::loss::LossBound;
use crate::position::{Epoch, RuleId};

/// Why. Text is made of it where people read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum Reason {
    /// The leader's lease lapsed, and its server does not answer.
    LeaseLapsed {
        /// Who led.
        leader: NodeName,
    },
    /// The leader's lease lapsed: its server is asked before anybody campaigns.
    LeaseLapsedAsking {
        /// Who leads.
        leader: NodeName,
    },
    /// The leader said that its server is gone, or that it hands over.
    LeaderResigned {
        /// Who led.
        leader: NodeName,
    },
    /// The operator asked for it.
    OperatorAsked,
    /// Whoever raised the epoch is not heard of any more.
    CoordinatorSilent {
        /// Who.
        coordinator: NodeName,
    },
    /// A member has promised a higher epoch than this one.
    PromisedHigher {
        /// What it has promised.
        promised: Epoch,
    },
    /// A coordinator recruits for this epoch.
    Recruited {
        /// The epoch.
        epoch: Epoch,
        /// Who recruits.
        coordinator: NodeName,
    },
    /// A recruit's WAL is needed to know what was acknowledged.
    Recruiting {
        /// The epoch.
        epoch: Epoch,
    },
    /// A recruit that may not lead has WAL that no other has.
    WalIsElsewhere {
        /// Who has it.
        holder: NodeName,
        /// Up to where.
        upto: Lsn,
    },
    /// The recruits cover every policy, and this is the furthest that may lead.
    Covered {
        /// The epoch.
        epoch: Epoch,
    },
    /// The recruits do not cover every policy, and what would be lost is within the bound.
    LossAccepted {
        /// WAL known to be missing; `None` where nobody knows.
        bytes: Option<u64>,
        /// What was allowed.
        bound: LossBound,
    },
    /// The record says that this node leads.
    Chosen {
        /// The epoch.
        epoch: Epoch,
    },
    /// The rule with which the reign begins is to be in the WAL before anything is acknowledged.
    ReignBegins {
        /// The epoch.
        epoch: Epoch,
    },
    /// The quorum has the rule, and all before it.
    QuorumHasRule {
        /// Which.
        rule: RuleId,
    },
    /// The quorum has all that clients may see.
    QuorumCaughtUp,
    /// Nothing is to be acknowledged until the quorum has all that clients may see.
    NotYetCaughtUp,
    /// The sign of life is due.
    BeatDue,
    /// The agent is about to end and to come back.
    AgentRestarts,
    /// Nobody took over, or nobody can: the server is started where it is.
    NobodyTakesOver,
    /// The leader's server is gone.
    ServerGone,
    /// The server can't be promoted.
    PromotionFailed,
    /// The server has not answered for too long.
    ServerHung,
    /// Neither the store nor the quorum is heard of.
    Isolated,
    /// The own lease has ended, and nothing but time would stop an asynchronous leader.
    LeaseEnded,
    /// Commits wait for nobody, so that only time stops this leader.
    Asynchronous,
    /// Commits wait for standbys, which is what stops a leader.
    Synchronous,
    /// The policy is to be what can be had of what the operator wants.
    PolicyAttainable {
        /// Standbys that are taken in.
        joined: Vec<NodeName>,
        /// Standbys that are left out.
        left: Vec<NodeName>,
    },
    /// A published policy is to be in force.
    PolicyChange,
    /// Something other than the published policy is in force.
    PolicyForeign,
    /// The server is handed over.
    HandingOver {
        /// To whom.
        successor: NodeName,
    },
    /// The handover took too long.
    HandoverStalled,
    /// Another leads.
    Superseded {
        /// In which epoch.
        epoch: Epoch,
    },
    /// The server does not run.
    ServerStopped,
    /// The WAL is a part of the leader's history.
    PartOfHistory {
        /// Who leads.
        leader: NodeName,
    },
    /// The WAL has parted from the leader's history.
    Diverged {
        /// Who leads.
        leader: NodeName,
    },
    /// Somebody else than the agent has made the server a primary.
    PromotedByHand,
    /// There is no data that could be started.
    DataUnusable,
    /// The data was brought back into the leader's history.
    Rejoined,
    /// The record was changed by this node: nobody shall have to wait for the store to tell.
    RecordChanged,
}
