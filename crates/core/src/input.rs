//! What the core is given.

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::action::ActionId;
use crate::lease::Lease;
use crate::loss::LossBound;
use crate::message::Message;
use crate::record::{Desired, MemberRole, Record, Versioned};
use crate::server::ServerFacts;
use crate::timer::Timer;

/// A fact, an answer or a wish.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Input {
    /// A look at this host's server.
    Server(ServerFacts),
    /// The record as the store has it, or as a peer told it. An older one changes nothing.
    Record(Versioned<Record>),
    /// The lease as the store has it.
    Lease(Lease),
    /// Whether the store answers.
    Store(StoreState),
    /// Whether the leader's server answers when it is asked from here: the lease of a leader
    /// whose agent is gone lapses while its server is well.
    LeaderServer(LeaderServer),
    /// A peer's core says something.
    Message {
        /// Who.
        from: NodeName,
        /// What.
        message: Message,
    },
    /// An action has ended.
    Done {
        /// Which.
        action: ActionId,
        /// How.
        outcome: Outcome,
    },
    /// A timer that was armed has fired.
    Timer(Timer),
    /// The operator wants something.
    Command(Command),
}

/// Whether the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StoreState {
    /// It does.
    Reachable,
    /// It does not.
    Unreachable,
    /// It does, and has no record of the herd any more, or an older one than this node knows:
    /// nothing can be changed in it until the herd is taken up again.
    RecordLost,
}

/// Whether the leader's server answers this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeaderServer {
    /// It takes connections, and is a primary of the epoch of the record.
    Answers,
    /// It refuses the question because all its connections are taken: it lives, and nothing more is
    /// known of it.
    Full,
    /// Not within the time that a probe has.
    Silent,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// As ordered. For a promise: it is durable. For a policy: it is in force.
    Done,
    /// A record was written.
    Swapped {
        /// It, with the revision that it has now.
        record: Versioned<Record>,
        /// The lease as it was then. Nobody gives another sign of life under a record before this.
        lease: Option<Lease>,
    },
    /// Somebody else was first: this is there.
    Conflict(Versioned<Record>),
    /// Whether the store has done it is not known.
    Unknown,
    /// A rule was written, and its WAL ends here.
    RuleWritten {
        /// Flushed by this server; whether by others is in the facts about its followers.
        lsn: Lsn,
    },
    /// It was not done, or not to its end, and can be tried again.
    Failed,
    /// The same, and what is in the way is around the server: its configuration, or its host. Other
    /// data would help nothing.
    Hindered,
}

/// What an operator can want.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Hand over to this one, or to the best.
    Switchover {
        /// Whom.
        to: Option<NodeName>,
    },
    /// Elect a new leader although the present one may live.
    Failover {
        /// Whom, if it is as far as any other.
        to: Option<NodeName>,
        /// Go on where acknowledged commits may be lost, if at most this much WAL is.
        allow_loss: Option<LossBound>,
    },
    /// Act only when told to.
    Pause,
    /// Act by itself again.
    Resume,
    /// Change what commits wait for.
    SetPolicy(Desired),
    /// Take in a member, or change its priority.
    Admit {
        /// Who.
        name: NodeName,
        /// As what.
        role: MemberRole,
    },
    /// Let a member go.
    Forget {
        /// Who.
        name: NodeName,
    },
    /// This host's agent is about to end and to come back: nobody shall act on its silence.
    AgentRestarts,
}

impl Command {
    /// Whether somebody waits for it, and is told what becomes of it.
    pub(crate) fn is_an_operators(&self) -> bool {
        match self {
            Command::Switchover { .. }
            | Command::Failover { .. }
            | Command::Pause
            | Command::Resume
            | Command::SetPolicy(_) => true,
            Command::Admit { .. } | Command::Forget { .. } | Command::AgentRestarts => false,
        }
    }
}
