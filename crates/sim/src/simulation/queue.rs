//! What will happen once, and when.

use std::cmp::Ordering;
use std::time::Duration;

use manada_core::message::Message;

use crate::shared::Shared;
use crate::world::HostId;

/// An event and its time; the earliest is the greatest.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) due: Duration,
    pub(super) sequence: u64,
    pub(super) event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// Something that will happen.
#[derive(Clone, Debug, Hash)]
pub(super) enum Event {
    Sync(HostId, u32),
    Swap(HostId, u32),
    Renew(HostId, u32),
    Obey(HostId, u32),
    Probe(HostId, u32),
    Read(HostId),
    StoreSeen(HostId),
    Letter(HostId, HostId, Shared<Message>),
    Connect(HostId),
    Receive(HostId),
    Answer(HostId, HostId),
    Reload(HostId, HostId),
    Checkpointer(HostId),
    Deadman(HostId),
    AgentEnds(HostId),
    AgentStarts(HostId),
    LateSwap,
}
