//! What a node is at this moment, for whoever asks: load balancers, monitoring, operators.

use manada_core::input::StoreState;
use manada_core::lease::Lease;
use manada_core::obstacle::Obstacle;
use manada_core::position::Epoch;
use manada_core::record::{Record, Versioned};
use manada_core::server::ServerFacts;
use manada_core::standing::Standing;
use manada_core::timer::Moment;
use manada_model::{HerdName, NodeName, SystemIdentifier};
use serde::Serialize;

use crate::loss::LostRecord;

/// Who is asked.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    /// The herd.
    pub herd: HerdName,
    /// The node.
    pub node: NodeName,
    /// The cluster's number.
    pub system_identifier: SystemIdentifier,
}

/// A node as its agent sees it.
#[derive(Clone, Debug)]
pub struct Glance {
    /// When it was so.
    pub at: Moment,
    /// Where it stands.
    pub standing: Standing,
    /// Why nothing happens, where something might be expected.
    pub obstacles: Vec<Obstacle>,
    /// The record, as far as it is known here.
    pub record: Option<Versioned<Record>>,
    /// Its server, and when it was looked at.
    pub server: Option<(ServerFacts, Moment)>,
    /// The leader's last sign of life, and when it came.
    pub lease: Option<(Lease, Moment)>,
    /// Whether the store answers.
    pub store: StoreState,
    /// Whether it has lost the herd's record.
    pub lost: Option<LostRecord>,
    /// The epoch that is promised; `None` before the agent's loop has begun.
    pub promised: Option<Epoch>,
    /// The epoch in which the store has confirmed the record since the agent was started.
    pub confirmed: Option<Epoch>,
    /// A newer record than `record`, which the node remembered when its agent was started.
    pub remembered: Option<Versioned<Record>>,
    /// How often this node has begun to lead since its agent started.
    pub reigns_begun: u64,
}

impl Glance {
    /// Before anything is known.
    pub fn at_start(at: Moment) -> Glance {
        Glance {
            at,
            standing: Standing::NoRecord,
            obstacles: Vec::new(),
            record: None,
            server: None,
            lease: None,
            store: StoreState::Unreachable,
            lost: None,
            promised: None,
            confirmed: None,
            remembered: None,
            reigns_begun: 0,
        }
    }

    /// The server's facts.
    pub fn facts(&self) -> Option<&ServerFacts> {
        self.server.as_ref().map(|(facts, _)| facts)
    }

    /// How many bytes of WAL the leader had at its last sign of life that this standby has not;
    /// `None` where that is not known.
    pub fn lag_bytes(&self) -> Option<u64> {
        let Some(ServerFacts::Standby(standby)) = self.facts() else {
            return None;
        };
        let (lease, _) = self.lease.as_ref()?;
        let end = lease.flush_lsn;
        // A leader whose reign has not begun says no position.
        end.is_valid()
            .then(|| end.0.saturating_sub(standby.position.flush_lsn.0))
    }
}
