//! Where a node can be reached.

use manada_core::record::MemberRole;
use manada_model::address::HostAddress;
use manada_model::{NodeName, SystemIdentifier};
use serde::{Deserialize, Serialize};

/// A node's entry in the address book. Each node writes its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Contact {
    /// Who.
    pub name: NodeName,
    /// Its addresses, the preferred one first.
    pub addresses: Vec<HostAddress>,
    /// Where its PostgreSQL listens. A witness has none.
    pub postgres_port: Option<u16>,
    /// Where its agent listens.
    pub agent_port: u16,
    /// As what it wants to belong to the herd.
    pub role: MemberRole,
    /// The number of the cluster it is a part of: another one's node has no place in the herd.
    pub system_identifier: SystemIdentifier,
}
