//! What can happen to a herd.

use crate::herd::Shape;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The postmaster is killed.
    PostmasterKilled,
    /// All of the server's processes stop where they are, for long enough to be noticed.
    ServerPaused,
    /// The agent is killed, and comes back.
    AgentKilled,
    /// The agent stops where it is, and goes on.
    AgentPaused,
    /// Everything on the host stops where it is, as a virtual machine does, and goes on.
    HostPaused,
    /// The host's link is silent.
    Silence,
    /// Everything on the host ends, and its link is silent.
    Power,
    /// The same, and what was not synced to its disk is gone.
    PowerAndUnsynced,
    /// It and one other host don't reach each other.
    CutOff,
    /// What it sends does not reach one other host.
    CutOffOneWay,
    /// One other host resets all that it sends.
    Resets,
    /// Its member of etcd is killed, and comes back.
    StoreMemberKilled,
    /// All of etcd is killed, and comes back.
    StoreLost,
    /// All of etcd stops where it is, and goes on.
    StorePaused,
    /// The node's disk gets full.
    DiskFull,
    /// Every sync of the server fails.
    SyncFails,
    /// The node's disk stalls for less than what shall cause a failover.
    DiskStall,
    /// So does its link.
    LinkStall,
    /// So does everything on it.
    HostStall,
    /// Its clock jumps, and jumps back.
    ClockJump,
    /// Its operator gives the primary's place to another node.
    Switchover,
    /// Commits wait for one standby more, or for one less.
    PolicyChange,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 22] = [
        Kind::PostmasterKilled,
        Kind::ServerPaused,
        Kind::AgentKilled,
        Kind::AgentPaused,
        Kind::HostPaused,
        Kind::Silence,
        Kind::Power,
        Kind::PowerAndUnsynced,
        Kind::CutOff,
        Kind::CutOffOneWay,
        Kind::Resets,
        Kind::StoreMemberKilled,
        Kind::StoreLost,
        Kind::StorePaused,
        Kind::DiskFull,
        Kind::SyncFails,
        Kind::DiskStall,
        Kind::LinkStall,
        Kind::HostStall,
        Kind::ClockJump,
        Kind::Switchover,
        Kind::PolicyChange,
    ];

    /// Whether it is too short to cause a failover.
    pub fn is_stall(self) -> bool {
        matches!(self, Kind::DiskStall | Kind::LinkStall | Kind::HostStall)
    }

    /// For how long it lasts, at least and at most, in milliseconds.
    pub(super) fn lasts_ms(self) -> (u64, u64) {
        match self {
            Kind::DiskStall | Kind::LinkStall | Kind::HostStall => (1500, 1500),
            Kind::SyncFails => (500, 1500),
            // Whoever asks for the time sees the jump after a second.
            Kind::ClockJump => (1500, 8000),
            Kind::PostmasterKilled | Kind::Switchover | Kind::PolicyChange => (0, 0),
            Kind::ServerPaused
            | Kind::AgentKilled
            | Kind::AgentPaused
            | Kind::HostPaused
            | Kind::Silence
            | Kind::Power
            | Kind::PowerAndUnsynced
            | Kind::CutOff
            | Kind::CutOffOneWay
            | Kind::Resets
            | Kind::StoreMemberKilled
            | Kind::StoreLost
            | Kind::StorePaused
            | Kind::DiskFull => (500, 8000),
        }
    }

    /// Whether it can happen to a herd of that shape and leave its shape as it is.
    pub(super) fn suits(self, shape: Shape) -> bool {
        match shape {
            Shape::Blocking | Shape::Degrading => true,
            Shape::Asynchronous | Shape::Pair => self != Kind::PolicyChange,
        }
    }

    /// Whether it can be undone while `other` lasts on another node, and the other way round: what
    /// happens to the whole store leaves no member of it to another fault.
    pub(super) fn goes_with(self, other: Kind) -> bool {
        !(self.takes_the_store() && other.takes_a_member()
            || other.takes_the_store() && self.takes_a_member())
    }

    fn takes_the_store(self) -> bool {
        matches!(self, Kind::StoreLost | Kind::StorePaused)
    }

    fn takes_a_member(self) -> bool {
        self.takes_the_store()
            || matches!(
                self,
                Kind::StoreMemberKilled
                    | Kind::HostPaused
                    | Kind::HostStall
                    | Kind::Power
                    | Kind::PowerAndUnsynced
            )
    }
}
