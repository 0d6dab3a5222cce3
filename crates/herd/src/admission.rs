//! What a newcomer and the primary say to each other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use manada_model::{NodeName, ServerVersion, SystemIdentifier};
use manada_postgres::address::HostAddress;
use serde::{Deserialize, Serialize};

use crate::member::Member;

/// What a newcomer asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    /// What the primary is like. Changes nothing.
    Describe,
    /// To be admitted.
    Admit(Newcomer),
}

/// Who wants to be admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Newcomer {
    pub(crate) name: NodeName,
    pub(crate) port: u16,
    /// How the others reach it, the preferred one first.
    pub(crate) addresses: Vec<HostAddress>,
    /// In PEM.
    pub(crate) certificate_request: String,
}

/// What the primary answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Described(PrimaryFacts),
    Admitted(Box<Admission>),
    Refused(Refusal),
}

/// What a newcomer must know of the primary before it copies anything.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PrimaryFacts {
    /// Its version.
    #[serde(rename = "server_version_num")]
    pub version: ServerVersion,
    /// The cluster's number.
    pub system_identifier: SystemIdentifier,
    /// The superuser's role.
    pub superuser: String,
    /// Whence the newcomer comes, as the primary sees it.
    pub client_address: IpAddr,
    /// The size of all databases, in bytes.
    pub database_bytes: u64,
    /// How many tablespaces it has beyond the two of every cluster.
    pub tablespaces: u32,
    /// Whether its `postgresql.conf` lies in the data directory and so comes with a clone.
    pub config_in_data_directory: bool,
    /// The values of what a standby's settings depend on.
    pub settings: BTreeMap<String, String>,
}

/// All that an admitted node needs. It holds secrets and has no Debug output.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Admission {
    pub(crate) member: Member,
    /// The name of its slot, for the server to make.
    pub(crate) slot: String,
    /// This node's certificate, followed by the authority's.
    pub(crate) certificate: String,
    pub(crate) authority: String,
    /// The authority's key: whoever comes to lead admits the next.
    pub(crate) authority_key: String,
    pub(crate) replication_role: String,
    pub(crate) replication_password: String,
    pub(crate) monitor_password: String,
    pub(crate) archive_directory: Option<PathBuf>,
    /// All members, the newcomer included.
    pub(crate) members: Vec<Member>,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

/// Why the primary's host does not admit a newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The request is none.
    #[error("the request is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The name belongs to a node with another key.
    #[error("the herd has a node {name} already, at {host}:{port}")]
    NameTaken {
        /// The name.
        name: NodeName,
        /// Where that node is.
        host: HostAddress,
        /// Its port.
        port: u16,
    },
    /// Another node is reached there.
    #[error("{host}:{port} is the address of node {by}")]
    AddressTaken {
        /// The address.
        host: HostAddress,
        /// The port.
        port: u16,
        /// The other node.
        by: NodeName,
    },
    /// An address of another node's host, claimed from elsewhere.
    #[error("{address} is an address of node {by}, and the request came from {came_from}")]
    ForeignAddress {
        /// The address.
        address: HostAddress,
        /// The other node.
        by: NodeName,
        /// Whence the request came.
        came_from: IpAddr,
    },
    /// A loopback address, claimed by another host.
    #[error("{address} leads every other host to itself, and the request came from {came_from}")]
    Loopback {
        /// The address.
        address: HostAddress,
        /// Whence the request came.
        came_from: IpAddr,
    },
    /// The herd's authority has no key there.
    #[error("the key of the herd's authority, tls/ca.key, is missing on the primary's host")]
    NoAuthority,
}
