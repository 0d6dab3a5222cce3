//! What can happen to a herd, and how it is undone.

use crate::faults::{FailingSync, Partition};
use crate::herd::{HerdNode, ProtectedHerd, TIMED_OUT};
use crate::programs::Missing;

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
            | Kind::DiskFull
            | Kind::ClockJump => (500, 8000),
        }
    }
}

/// By how much a clock jumps, in seconds: further than any of the herd's times.
const JUMP_SECONDS: i64 = 600;

/// Something that has happened, and lasts until it is undone.
pub(super) enum Suffered {
    /// It is over as soon as it has happened.
    Over,
    /// Traffic does not arrive.
    Partition(Partition),
    /// The host is gone.
    Gone {
        link: Partition,
        unsynced: bool,
    },
    /// Stopped where it is.
    ServerPaused,
    AgentPaused,
    HostPaused,
    /// The agent is not there.
    AgentGone,
    /// Members of etcd are not there.
    StoreGone {
        all: bool,
    },
    StorePaused,
    DiskFull,
    DiskStalled,
    SyncFails(FailingSync),
    ClockOff,
}

/// Makes it happen to `node`; `other` is where it takes two.
pub(super) fn inflict(
    kind: Kind,
    herd: &ProtectedHerd,
    node: &HerdNode,
    other: &HerdNode,
) -> Result<Suffered, Missing> {
    Ok(match kind {
        Kind::PostmasterKilled => {
            node.kill_postmaster();
            Suffered::Over
        }
        Kind::ServerPaused => {
            node.pause_server();
            Suffered::ServerPaused
        }
        Kind::AgentKilled => {
            node.kill_agent();
            Suffered::AgentGone
        }
        Kind::AgentPaused => {
            node.pause_agent();
            Suffered::AgentPaused
        }
        Kind::HostPaused | Kind::HostStall => {
            node.host().pause();
            Suffered::HostPaused
        }
        Kind::Silence | Kind::LinkStall => Suffered::Partition(Partition::isolating(node.host())),
        Kind::Power => lose(node, false),
        Kind::PowerAndUnsynced => lose(node, true),
        Kind::CutOff => Suffered::Partition(Partition::between(node.host(), other.host())),
        Kind::CutOffOneWay => Suffered::Partition(Partition::one_way(node.host(), other.host())),
        Kind::Resets => Suffered::Partition(Partition::resetting(node.host(), other.host())),
        Kind::StoreMemberKilled => {
            herd.etcd().kill(node.host());
            Suffered::StoreGone { all: false }
        }
        Kind::StoreLost => {
            for node in herd.nodes() {
                herd.etcd().kill(node.host());
            }
            Suffered::StoreGone { all: true }
        }
        Kind::StorePaused => {
            for node in herd.nodes() {
                herd.etcd().pause(node.host());
            }
            Suffered::StorePaused
        }
        Kind::DiskFull => {
            node.disk().expect("a herd that is to fail").fill();
            Suffered::DiskFull
        }
        Kind::DiskStall => {
            node.disk().expect("a herd that is to fail").stall();
            Suffered::DiskStalled
        }
        Kind::SyncFails => Suffered::SyncFails(FailingSync::of(node)?),
        Kind::ClockJump => {
            let clock = node.clock();
            let clock = clock.ok_or_else(|| Missing::new("install the package faketime"))?;
            // Ahead or behind, as the names fall: both happen in a run.
            let sign = if node.name() < other.name() { 1 } else { -1 };
            clock.be_off_by(sign * JUMP_SECONDS);
            Suffered::ClockOff
        }
        Kind::Switchover => {
            ask(node, &["switchover", "--to", other.name()]);
            Suffered::Over
        }
        Kind::PolicyChange => {
            let count = if node.name() < other.name() { "2" } else { "1" };
            ask(node, &["sync", "any", count]);
            Suffered::Over
        }
    })
}

/// An operator's command. It may fail, as the herd may be unwell; what it must not do is hang.
fn ask(node: &HerdNode, arguments: &[&str]) {
    let output = node.command(arguments).output().expect("it can be run");
    assert_ne!(
        output.status.code(),
        Some(TIMED_OUT),
        "manada {arguments:?} has not ended"
    );
}

fn lose(node: &HerdNode, unsynced: bool) -> Suffered {
    let link = Partition::isolating(node.host());
    if unsynced {
        node.disk().expect("a herd that is to fail").cut_power();
    }
    node.kill_agent();
    node.host().crash();
    Suffered::Gone { link, unsynced }
}

impl Suffered {
    /// Undoes it.
    pub(super) fn end(self, herd: &ProtectedHerd, node: &HerdNode) {
        match self {
            Suffered::Over => {}
            Suffered::Partition(partition) => partition.heal(),
            Suffered::Gone { link, unsynced } => {
                if unsynced {
                    node.disk().expect("it was lost").restore_power();
                }
                link.heal();
                herd.etcd().restart(node.host());
            }
            Suffered::ServerPaused => node.resume_server(),
            Suffered::AgentPaused => node.resume_agent(),
            Suffered::HostPaused => node.host().resume(),
            Suffered::AgentGone => {}
            Suffered::StoreGone { all } => {
                for gone in herd.nodes() {
                    if all || gone.name() == node.name() {
                        herd.etcd().restart(gone.host());
                    }
                }
            }
            Suffered::StorePaused => {
                for paused in herd.nodes() {
                    herd.etcd().resume(paused.host());
                }
            }
            Suffered::DiskFull => node.disk().expect("it was filled").make_room(),
            Suffered::DiskStalled => node.disk().expect("it was stalled").go_on(),
            Suffered::SyncFails(failing) => drop(failing),
            Suffered::ClockOff => node.clock().expect("it has jumped").be_off_by(0),
        }
        // As systemd does.
        for node in herd.nodes() {
            node.start_agent();
        }
    }
}
