//! What operators' commands on this host say to the agent: HTTP over a Unix socket in the node's
//! home. Agents ask each other the same at their other port.

mod client;
mod desk;
mod listener;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use manada_core::input::StoreState;
use manada_core::lease::Lease;
use manada_core::obstacle::Obstacle;
use manada_core::position::Epoch;
use manada_core::record::{Record, Versioned};
use manada_core::recover::Testimony;
use manada_core::server::ServerFacts;
use manada_core::standing::Standing;
use manada_herd::Home;
use manada_model::{HerdName, NodeName};
use manada_store::Contact;
use serde::{Deserialize, Serialize};

pub use client::{ControlError, command, journal_of, view, view_of};
pub(crate) use desk::{Asker, Desk};
pub use listener::ControlListenError;
pub(crate) use listener::ControlListener;

use crate::loss::LostRecord;

/// Where a [`View`] is read; `?of=NODE` is another node's, for which this agent asks that one.
pub(crate) const VIEW: &str = "/view";

/// Where a [`Command`](manada_core::input::Command) is posted.
pub(crate) const COMMAND: &str = "/command";

/// Where the journal is read, the oldest line first; `?of=NODE` is another node's.
pub(crate) const JOURNAL: &str = "/journal";

/// How many lines of a journal are told.
const JOURNAL_LINES_MAX: usize = 2000;

/// How long an answer may take, another agent's included.
pub const ANSWERED_WITHIN: Duration = Duration::from_millis(1500);

/// The longest answer, in bytes: a herd of a thousand nodes has a quarter of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The socket of a node's agent. Its directory lets in the servers' user and root alone.
pub fn socket(home: &Home) -> PathBuf {
    home.socket_directory().join("agent.sock")
}

/// A node as its agent sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// The herd.
    pub herd: HerdName,
    /// The node.
    pub node: NodeName,
    /// The agent's program.
    pub version: String,
    /// What it is.
    pub standing: Standing,
    /// Why nothing happens here, where something might be expected.
    pub obstacles: Vec<Obstacle>,
    /// The record, as far as it is known here.
    pub record: Option<Versioned<Record>>,
    /// The leader's last sign of life.
    pub lease: Option<LeaseAge>,
    /// Where the store is.
    pub store: String,
    /// Whether it answers.
    pub store_state: StoreState,
    /// Whether it has lost the herd's record.
    #[serde(default)]
    pub lost: Option<LostRecord>,
    /// The epoch that is promised; `None` where the agent is just starting.
    #[serde(default)]
    pub promised: Option<Epoch>,
    /// The epoch in which the store has confirmed the record since the agent was started.
    #[serde(default)]
    pub confirmed: Option<Epoch>,
    /// A newer record than `record`, which the node remembered when its agent was started.
    #[serde(default)]
    pub remembered: Option<Versioned<Record>>,
    /// The server.
    pub server: Option<ServerFacts>,
    /// Where the nodes are.
    pub book: BTreeMap<NodeName, Contact>,
}

impl View {
    /// What the node knows of its herd, for when the store knows less.
    pub fn testimony(&self) -> Option<Testimony> {
        Some(Testimony::of(
            self.promised?,
            self.record.as_ref(),
            self.remembered.as_ref(),
            self.confirmed,
            self.server.as_ref(),
        ))
    }
}

/// A sign of life, and how long it has been the last one by the clock of whoever watches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseAge {
    /// The sign.
    pub lease: Lease,
    /// In milliseconds.
    pub age_ms: u64,
}

/// What became of a command. What comes of it shows in the views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// A node's core has it.
    Taken {
        /// Which.
        by: NodeName,
    },
    /// It is one for the leader, and there is none at this moment.
    NoLeader,
    /// It is one for the leader, whose agent can't be reached from here.
    LeaderUnreachable {
        /// Who.
        leader: NodeName,
        /// Why.
        reason: String,
        /// Whether it may have heard the command all the same.
        #[serde(default)]
        sent: bool,
    },
    /// It would come to nothing.
    Refused {
        /// Whose core says so.
        by: NodeName,
        /// Why.
        obstacle: Obstacle,
    },
    /// The agent is busy with earlier ones.
    Busy,
}
