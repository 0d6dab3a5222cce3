//! What is drawn: a forest of servers, each with those that follow it.

use std::time::Duration;

use manada_model::{SyncState, TimelineId};

/// A herd to draw.
///
/// Names and addresses may come from servers nobody vouches for: every output quotes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What the picture is of.
    pub title: String,
    /// When the servers were asked, for people.
    pub taken_at: Option<String>,
    /// Servers that follow nobody who is known: one healthy primary, or more when all is not well.
    pub roots: Vec<Node>,
    /// What a commit waits for, in a sentence.
    pub policy: Option<String>,
    /// What would be lost if the primary died now, in a sentence.
    pub risk: Option<String>,
}

/// A server.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name in the herd, or the best that is known of it.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// `host:port`, or the directory of its socket.
    pub address: Option<String>,
    /// PostgreSQL's version, such as `17.10`.
    pub version: Option<String>,
    /// The timeline it is on.
    pub timeline: Option<TimelineId>,
    /// How it is.
    pub condition: Condition,
    /// The servers that stream from it, or should.
    pub standbys: Vec<Follower>,
}

/// What a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another.
    Standby,
    /// It was never heard.
    Unknown,
}

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It answered, and nothing about it calls for attention.
    Answering,
    /// It answered, and something about it calls for attention.
    Ailing(String),
    /// It did not answer, with the reason.
    Unreachable(String),
}

/// A standby and how it hangs on its upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Follower {
    /// From the upstream to the standby.
    pub arrow: Arrow,
    /// The standby.
    pub node: Node,
}

/// How WAL goes from an upstream to a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// What the upstream says of the connection.
    pub link: Link,
    /// The slot that holds WAL for the standby.
    pub slot: Option<Slot>,
}

/// The connection from an upstream to a standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// WAL flows as it is written.
    Streaming(SyncState, Lag),
    /// WAL of the past is being sent.
    CatchingUp(SyncState, Lag),
    /// The upstream has no walsender for the standby.
    Broken,
    /// The upstream could not be asked, or does not show it to this role.
    Unknown,
}

/// How far a standby is behind in replaying, where it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// In bytes of WAL.
    pub bytes: Option<u64>,
    /// In time; PostgreSQL has none for an idle standby.
    pub time: Option<Duration>,
}

/// A replication slot on the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: SlotState,
    /// The WAL that is kept because of it.
    pub retained_bytes: Option<u64>,
}

/// How a replication slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// In use.
    Active,
    /// Not in use; it holds WAL for one that may come back.
    Inactive,
    /// It needs WAL that the next checkpoint may remove (`wal_status = unreserved`).
    Unreserved,
    /// WAL that it needed is gone (`wal_status = lost`).
    Lost,
}

impl Picture {
    /// Every server with its depth below its root, a server before those that follow it.
    pub(crate) fn walk(&self) -> Vec<(usize, &Node)> {
        fn descend<'a>(node: &'a Node, depth: usize, into: &mut Vec<(usize, &'a Node)>) {
            into.push((depth, node));
            for follower in &node.standbys {
                descend(&follower.node, depth + 1, into);
            }
        }
        let mut nodes = Vec::new();
        for root in &self.roots {
            descend(root, 0, &mut nodes);
        }
        nodes
    }
}

impl Link {
    /// What commits expect of the standby, where the upstream says so.
    pub(crate) fn sync_state(&self) -> Option<SyncState> {
        match self {
            Link::Streaming(state, _) | Link::CatchingUp(state, _) => Some(*state),
            Link::Broken | Link::Unknown => None,
        }
    }
}
