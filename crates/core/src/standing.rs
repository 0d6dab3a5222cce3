//! What a node is at this moment.

use manada_model::NodeName;
use serde::{Deserialize, Serialize};

use crate::action::Rung;
use crate::policy::Policy;
use crate::position::Epoch;
use crate::server::Gate;

/// What a node is at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// It has seen no record.
    NoRecord,
    /// The record does not have it.
    Outsider,
    /// It has promised, or promises, an epoch in which nobody leads yet.
    Recruited {
        /// The epoch.
        epoch: Epoch,
        /// Who recruits; `None` where the promise is all that is left of it.
        coordinator: Option<NodeName>,
        /// Whether it has said where its WAL ends.
        answered: bool,
    },
    /// It recruits.
    Electing {
        /// The epoch.
        epoch: Epoch,
        /// How many have answered.
        recruits: usize,
        /// Whether they cover every policy.
        covered: bool,
    },
    /// It is to lead, and is on the way there.
    Promoting {
        /// The epoch.
        epoch: Epoch,
        /// How far it is.
        stage: PromotionStage,
    },
    /// It leads.
    Leading {
        /// The epoch.
        epoch: Epoch,
        /// Whether clients get in.
        gate: Gate,
        /// What commits wait for, as published.
        policy: Policy,
        /// Whether another policy is still published beside it.
        changing: bool,
    },
    /// It leads, and its server was started in place: clients get in when its quorum has caught up.
    Reopening {
        /// The epoch.
        epoch: Epoch,
    },
    /// It leads, and makes way for another.
    HandingOver {
        /// For whom.
        successor: NodeName,
    },
    /// It led, and has said that it does not any more.
    Resigned {
        /// The epoch.
        epoch: Epoch,
        /// Who shall take over.
        successor: Option<NodeName>,
    },
    /// Its server is a primary, and another leads.
    SteppingDown {
        /// The epoch of the other.
        epoch: Epoch,
    },
    /// It follows the leader, or is about to.
    Following {
        /// Whom.
        leader: NodeName,
        /// The epoch.
        epoch: Epoch,
        /// Whether WAL streams.
        streams: bool,
    },
    /// Its data is being brought back into the leader's history.
    Rejoining {
        /// Whose.
        leader: NodeName,
        /// By what means.
        rung: Rung,
        /// The how manyth try, from 1.
        tries: u32,
    },
    /// All tries that are given at once to bring its data back are spent: there is one now and
    /// then.
    Stuck {
        /// Whose history.
        leader: NodeName,
        /// The means that was tried last.
        rung: Rung,
        /// How often in all.
        tries: u32,
    },
}

/// How far a promotion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotionStage {
    /// It makes durable that it will lead.
    Promising,
    /// Its server becomes a primary, behind a closed gate.
    Promoting,
    /// The rule of its reign is being written.
    WritingRule,
    /// The quorum is to have the rule.
    AwaitingQuorum,
    /// The policy is put in force and published alone; the gate opens.
    Opening,
}

/// A standing without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StandingKind {
    /// [`Standing::NoRecord`].
    NoRecord,
    /// [`Standing::Outsider`].
    Outsider,
    /// [`Standing::Recruited`].
    Recruited,
    /// [`Standing::Electing`].
    Electing,
    /// [`Standing::Promoting`].
    Promoting,
    /// [`Standing::Leading`].
    Leading,
    /// [`Standing::Reopening`].
    Reopening,
    /// [`Standing::HandingOver`].
    HandingOver,
    /// [`Standing::Resigned`].
    Resigned,
    /// [`Standing::SteppingDown`].
    SteppingDown,
    /// [`Standing::Following`].
    Following,
    /// [`Standing::Rejoining`].
    Rejoining,
    /// [`Standing::Stuck`].
    Stuck,
}

impl Standing {
    /// Which it is.
    pub fn kind(&self) -> StandingKind {
        match self {
            Standing::NoRecord => StandingKind::NoRecord,
            Standing::Outsider => StandingKind::Outsider,
            Standing::Recruited { .. } => StandingKind::Recruited,
            Standing::Electing { .. } => StandingKind::Electing,
            Standing::Promoting { .. } => StandingKind::Promoting,
            Standing::Leading { .. } => StandingKind::Leading,
            Standing::Reopening { .. } => StandingKind::Reopening,
            Standing::HandingOver { .. } => StandingKind::HandingOver,
            Standing::Resigned { .. } => StandingKind::Resigned,
            Standing::SteppingDown { .. } => StandingKind::SteppingDown,
            Standing::Following { .. } => StandingKind::Following,
            Standing::Rejoining { .. } => StandingKind::Rejoining,
            Standing::Stuck { .. } => StandingKind::Stuck,
        }
    }
}
