//! All of a herd's servers, and what follows from what they said.

mod assemble;
mod links;
mod loss;
mod problem;

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::millis;
use crate::{
    Lsn, PrimaryStatus, Recovery, ServerStatus, StandbyStatus, SyncPolicy, SynchronousCommit,
    SystemIdentifier, Visible, Walsender,
};

pub use loss::{Loss, UnknownLoss};
pub use problem::{LowLimit, Problem};

/// A herd as its servers described it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HerdStatus {
    /// When the first question was sent.
    pub asked_at: Timestamp,
    /// Until the last answer, or until it was no longer waited for.
    #[serde(rename = "took_ms", with = "millis")]
    pub took: Duration,
    /// Primaries first, then each standby below its upstream, then whoever could not be placed.
    pub nodes: Vec<Node>,
    /// What commits on the primary wait for; `None` without exactly one primary.
    pub policy: Option<PolicyState>,
    /// What would be lost if the primary died at this moment.
    pub loss: Loss,
    /// What is wrong, or about to be.
    pub problems: Vec<Problem>,
}

/// One server of the herd.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in this status: the member's name, else the name its upstream knows it by, else
    /// `cluster_name`, else its endpoint.
    pub name: String,
    /// Where it was asked, or where it is known to be.
    pub endpoint: Option<String>,
    /// What it said, or why it said nothing.
    pub state: NodeState,
    /// From whom it gets its WAL; `None` for a primary and for who gets none.
    pub upstream: Option<Upstream>,
    /// How far it is behind the primary; `None` for a primary and where it can't be told.
    pub lag: Option<Lag>,
}

/// In JSON a node has its role, too.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct WithRole<'a> {
            name: &'a str,
            role: Role,
            endpoint: &'a Option<String>,
            #[serde(flatten)]
            state: &'a NodeState,
            upstream: &'a Option<Upstream>,
            lag: &'a Option<Lag>,
        }
        WithRole {
            name: &self.name,
            role: self.role(),
            endpoint: &self.endpoint,
            state: &self.state,
            upstream: &self.upstream,
            lag: &self.lag,
        }
        .serialize(serializer)
    }
}

/// What is known of a node at first hand.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum NodeState {
    /// It answered.
    Answered(Box<ServerStatus>),
    /// It was asked and gave no answer.
    Unreachable {
        /// Why, as one sentence.
        reason: String,
        /// How long it was waited for.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
    },
    /// Its upstream sends to it, and it could not be asked: no address, or one that leads to
    /// another cluster.
    SeenByUpstream,
}

/// Where a node's WAL comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upstream {
    /// The node of this herd, where it is known which.
    pub node: Option<String>,
    /// The address the standby itself receives from, `host:port`.
    pub address: Option<String>,
    /// What the upstream says of it; `None` where the upstream was not asked or knows no such
    /// receiver.
    pub walsender: Option<Walsender>,
}

/// How far a standby is behind the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Lag {
    /// WAL not yet written on the standby.
    pub write: LagPoint,
    /// WAL not yet flushed on the standby.
    pub flush: LagPoint,
    /// WAL not yet replayed on the standby.
    pub replay: LagPoint,
    /// How long ago the last transaction replayed was committed; it grows while nobody writes.
    #[serde(rename = "since_last_replayed_commit_ms", with = "millis::option")]
    pub since_last_replayed_commit: Option<Duration>,
}

/// A distance in the WAL, and in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LagPoint {
    /// Bytes behind the primary's flush position; `None` where the position is unknown.
    pub bytes: Option<u64>,
    /// As the walsender last measured it; `None` when nothing was written of late.
    #[serde(rename = "time_ms", with = "millis::option")]
    pub time: Option<Duration>,
}

/// The policy, and whether enough standbys are there for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyState {
    /// `synchronous_standby_names` as it stands.
    pub standby_names: String,
    /// The same, read; `None` where this program can't.
    pub policy: Option<SyncPolicy>,
    /// `synchronous_commit`, as the role that asked has it.
    pub synchronous_commit: SynchronousCommit,
    /// The standbys that count and are streaming, by name; hidden without `pg_monitor`.
    pub streaming: Visible<Vec<String>>,
    /// Names in the policy for which no standby is streaming.
    pub missing: Visible<Vec<String>>,
}

/// What asking one server gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The name it is known by beforehand (a herd's member).
    pub member: Option<String>,
    /// Where it was asked, for people.
    pub endpoint: String,
    /// The addresses that endpoint means.
    pub addresses: Vec<IpAddr>,
    /// The walsender that led there, as its upstream's endpoint and the walsender's process id.
    pub seen_by: Option<(String, i32)>,
    /// What it said.
    pub outcome: Result<ServerStatus, NoAnswer>,
}

/// Why a server gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct NoAnswer {
    /// As one sentence.
    pub reason: String,
    /// How long it was waited for.
    pub waited: Duration,
}

/// What a node is in the herd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows, by its own word or its upstream's.
    Standby,
    /// Nobody said.
    Unknown,
}

impl HerdStatus {
    /// Puts answers together. `took` is how long all the asking took.
    pub fn assemble(asked_at: Timestamp, took: Duration, answers: Vec<Answer>) -> HerdStatus {
        let nodes = assemble::nodes(answers);
        let policy = the_primary(&nodes).map(|(_, status, _)| policy_state(status));
        HerdStatus {
            asked_at,
            took,
            loss: loss::if_primary_died(&nodes),
            problems: problem::find(&nodes, policy.as_ref()),
            policy,
            nodes,
        }
    }

    /// The primary, where there is exactly one.
    pub fn primary(&self) -> Option<&Node> {
        the_primary(&self.nodes).map(|(node, _, _)| node)
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Where the others reach a node, as the herd's list has it; else where it was asked.
    pub fn address_of(&self, node: &Node) -> Option<String> {
        let said = self.nodes.iter().filter_map(Node::status);
        let mut members = said.flat_map(|said| &said.members);
        members
            .find(|member| member.name == node.name)
            .map(|member| match member.host.contains(':') {
                true => format!("[{}]:{}", member.host, member.port),
                false => format!("{}:{}", member.host, member.port),
            })
            .or_else(|| node.endpoint.clone())
    }

    /// All that are not primaries.
    pub fn standbys(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.role() != Role::Primary)
    }

    /// Whether any server answered.
    pub fn any_answered(&self) -> bool {
        self.nodes.iter().any(|node| node.status().is_some())
    }

    /// The cluster the primary belongs to, else the first that answered.
    pub fn system_identifier(&self) -> Option<SystemIdentifier> {
        let status = |node: &Node| node.status().map(|status| status.system_identifier);
        self.primary()
            .and_then(status)
            .or_else(|| self.nodes.iter().find_map(status))
    }
}

impl Node {
    /// What it said, where it answered.
    pub fn status(&self) -> Option<&ServerStatus> {
        match &self.state {
            NodeState::Answered(status) => Some(status),
            NodeState::Unreachable { .. } | NodeState::SeenByUpstream => None,
        }
    }

    /// What it is in the herd.
    pub fn role(&self) -> Role {
        match self.status().map(|status| &status.recovery) {
            Some(Recovery::Primary(_)) => Role::Primary,
            Some(Recovery::Standby(_)) => Role::Standby,
            None if self.upstream.is_some() => Role::Standby,
            None => Role::Unknown,
        }
    }

    /// What it said as a primary.
    pub fn primary(&self) -> Option<&PrimaryStatus> {
        self.status().and_then(ServerStatus::primary)
    }

    /// What it said as a standby.
    pub fn standby(&self) -> Option<&StandbyStatus> {
        self.status().and_then(ServerStatus::standby)
    }

    /// What its upstream says of it.
    pub fn walsender(&self) -> Option<&Walsender> {
        self.upstream.as_ref()?.walsender.as_ref()
    }

    /// Up to where it has flushed WAL, by its own word or, if newer, its upstream's.
    pub fn flush_lsn(&self) -> Option<Lsn> {
        let own = self.status().and_then(ServerStatus::flush_lsn);
        let told = self
            .walsender()
            .and_then(|walsender| walsender.progress.shown()?.flush_lsn);
        own.max(told)
    }
}

/// The one primary of `nodes`; `None` where there is none or more than one.
fn the_primary(nodes: &[Node]) -> Option<(&Node, &ServerStatus, &PrimaryStatus)> {
    let mut primaries = nodes.iter().filter_map(|node| {
        let status = node.status()?;
        Some((node, status, status.primary()?))
    });
    let first = primaries.next()?;
    primaries.next().is_none().then_some(first)
}

fn policy_state(primary: &ServerStatus) -> PolicyState {
    let setting = &primary.policy;
    let rule = setting.policy.as_ref().and_then(SyncPolicy::rule);
    let mut streaming = Visible::Shown(Vec::new());
    let mut missing = Visible::Shown(Vec::new());
    if let Some(rule) = rule {
        if primary.rights.statistics {
            let counted = links::streaming(primary)
                .filter(|walsender| rule.priority_of(&walsender.application_name).is_some())
                .map(|walsender| walsender.application_name.clone())
                .collect::<Vec<_>>();
            let absent = rule
                .names
                .iter()
                .filter(|name| !counted.iter().any(|present| name.matches(present)))
                .map(|name| name.as_str().to_owned())
                .collect();
            streaming = Visible::Shown(counted);
            missing = Visible::Shown(absent);
        } else {
            streaming = Visible::Hidden;
            missing = Visible::Hidden;
        }
    }
    PolicyState {
        standby_names: setting.standby_names.clone(),
        policy: setting.policy.clone(),
        synchronous_commit: setting.synchronous_commit,
        streaming,
        missing,
    }
}

impl PolicyState {
    /// How many standbys a commit waits for; 0 where replication is asynchronous.
    pub fn needed(&self) -> u32 {
        self.policy
            .as_ref()
            .and_then(SyncPolicy::rule)
            .map_or(0, |rule| rule.count.get())
    }

    /// Whether enough standbys stream for commits to return; `None` where that is hidden.
    pub fn is_satisfied(&self) -> Option<bool> {
        let streaming = self.streaming.shown()?.len();
        Some(streaming >= usize::try_from(self.needed()).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests;
