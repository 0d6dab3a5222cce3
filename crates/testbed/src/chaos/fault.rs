//! How a fault is made, seen to be one, and undone.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::kind::Kind;
use crate::faults::{FailingSync, Partition};
use crate::herd::{HerdNode, ProtectedHerd, Shape, TIMED_OUT};
use crate::programs::Missing;

/// By how much a clock jumps, in seconds: further than any of the herd's times.
const JUMP_SECONDS: i64 = 600;

/// How many segments of WAL are begun at most until a full disk is felt.
const SEGMENTS_MAX: u32 = 10;

/// The pause between two of them: what was written comes to the standbys.
const SEGMENT_PAUSE: Duration = Duration::from_millis(50);

/// What a server may say while its disk is full.
const LOG_BYTES: u64 = 4 << 20;

/// What a server says of a full disk.
const NO_SPACE: &str = "No space left on device";

/// What it says of a sync that fails: after `could not f` the call's name, then the file's.
const NOT_SYNCED: [&str; 2] = ["sync file", "Input/output error"];

/// Something that has happened, and lasts until it is undone.
pub(super) enum Suffered {
    /// It is over as soon as it has happened.
    Over {
        bit: bool,
    },
    /// Traffic does not arrive.
    Partition(Partition),
    /// The host is gone.
    Gone {
        link: Partition,
        unsynced: bool,
        bit: bool,
    },
    /// Stopped where it is.
    ServerPaused,
    AgentPaused,
    HostPaused,
    /// The agent is not there.
    AgentGone {
        bit: bool,
    },
    /// Members of etcd are not there.
    StoreGone {
        all: bool,
    },
    StorePaused,
    /// What the server said before is so long.
    DiskFull {
        said_bytes: usize,
    },
    DiskStalled,
    SyncFails {
        failing: FailingSync,
        said_bytes: usize,
    },
    ClockOff,
}

/// Makes it happen to `node`; `other` is where it takes two.
pub(super) fn inflict(
    kind: Kind,
    herd: &ProtectedHerd,
    shape: Shape,
    node: &HerdNode,
    other: &HerdNode,
) -> Result<Suffered, Missing> {
    Ok(match kind {
        Kind::PostmasterKilled => {
            let bit = server_runs(node);
            node.kill_postmaster();
            Suffered::Over { bit }
        }
        Kind::ServerPaused => {
            node.pause_server();
            Suffered::ServerPaused
        }
        Kind::AgentKilled => {
            let bit = node.agent_runs();
            node.kill_agent();
            Suffered::AgentGone { bit }
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
            let said_bytes = said(node).len();
            let disk = node.disk().expect("a herd that is to fail");
            // Else nobody would hear of it.
            disk.reserve(&node.server_log(), LOG_BYTES);
            disk.fill();
            make_felt(herd, node, said_bytes);
            Suffered::DiskFull { said_bytes }
        }
        Kind::DiskStall => {
            node.disk().expect("a herd that is to fail").stall();
            Suffered::DiskStalled
        }
        Kind::SyncFails => {
            let said_bytes = said(node).len();
            let failing = FailingSync::of(node)?;
            Suffered::SyncFails {
                failing,
                said_bytes,
            }
        }
        Kind::ClockJump => {
            let clock = node.clock();
            let clock = clock.ok_or_else(|| Missing::new("install the package faketime"))?;
            // Ahead or behind, as the names fall: both happen in a run.
            let sign = if node.name() < other.name() { 1 } else { -1 };
            clock.be_off_by(sign * JUMP_SECONDS);
            Suffered::ClockOff
        }
        Kind::Switchover => Suffered::Over {
            bit: ask(node, &["switchover", "--to", other.name()]),
        },
        Kind::PolicyChange => {
            let count = if node.name() < other.name() { "2" } else { "1" };
            let when_short = match shape {
                Shape::Degrading => "degrade",
                Shape::Blocking | Shape::Asynchronous | Shape::Pair => "block",
            };
            let bit = ask(node, &["sync", "any", count, "--when-short", when_short]);
            Suffered::Over { bit }
        }
    })
}

/// An operator's command, and whether it was carried out. It may fail, as the herd may be unwell;
/// what it must not do is hang.
fn ask(node: &HerdNode, arguments: &[&str]) -> bool {
    let output = node.command(arguments).output().expect("it can be run");
    assert_ne!(
        output.status.code(),
        Some(TIMED_OUT),
        "manada {arguments:?} has not ended"
    );
    output.status.success()
}

fn lose(node: &HerdNode, unsynced: bool) -> Suffered {
    let bit = server_runs(node);
    let link = Partition::isolating(node.host());
    if unsynced {
        node.disk().expect("a herd that is to fail").cut_power();
    }
    node.kill_agent();
    node.host().crash();
    Suffered::Gone {
        link,
        unsynced,
        bit,
    }
}

fn server_runs(node: &HerdNode) -> bool {
    !node.server_process_ids().is_empty()
}

/// Has the primary write WAL, which comes to its standbys, until the node's server has said that
/// its disk is full. Clients alone would take minutes to get there.
fn make_felt(herd: &ProtectedHerd, node: &HerdNode, said_bytes: usize) {
    for _ in 0..SEGMENTS_MAX {
        if has_said(node, said_bytes, &[NO_SPACE]) {
            return;
        }
        if let Some(primary) = herd.primaries().first() {
            // It may be the one that fails.
            primary.try_sql("SELECT pg_switch_wal()").ok();
        }
        sleep(SEGMENT_PAUSE);
    }
}

fn said(node: &HerdNode) -> Vec<u8> {
    fs::read(node.server_log()).unwrap_or_default()
}

/// Whether a line that the server has written since has all of these in it.
fn has_said(node: &HerdNode, said_bytes: usize, all: &[&str]) -> bool {
    let said = said(node);
    let since = String::from_utf8_lossy(said.get(said_bytes..).unwrap_or_default());
    since
        .lines()
        .any(|line| all.iter().all(|it| line.contains(it)))
}

/// Whether the server's clock is off by about as much as it was made to jump.
fn clock_is_off(node: &HerdNode) -> bool {
    let right = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let half = JUMP_SECONDS / 2;
    let sql = format!(
        "SELECT abs(extract(epoch FROM clock_timestamp()) - {}) > {half}",
        right.as_secs()
    );
    node.try_sql(&sql).as_deref() == Ok("t")
}

impl Suffered {
    /// Whether it is seen, just before it is undone, that something was hit by it.
    pub(super) fn has_bitten(&self, herd: &ProtectedHerd, node: &HerdNode) -> bool {
        match self {
            Suffered::Over { bit } | Suffered::Gone { bit, .. } | Suffered::AgentGone { bit } => {
                *bit
            }
            Suffered::Partition(partition) => partition.was_felt(),
            Suffered::ServerPaused | Suffered::HostPaused => node.server_is_paused(),
            Suffered::AgentPaused => node.agent_is_paused(),
            Suffered::StoreGone { .. } | Suffered::StorePaused => !herd.etcd().is_well(),
            Suffered::DiskFull { said_bytes } => has_said(node, *said_bytes, &[NO_SPACE]),
            Suffered::DiskStalled => node.server_waits_for_its_disk(),
            Suffered::SyncFails { said_bytes, .. } => has_said(node, *said_bytes, &NOT_SYNCED),
            Suffered::ClockOff => clock_is_off(node),
        }
    }

    /// Undoes it.
    pub(super) fn end(self, herd: &ProtectedHerd, node: &HerdNode) {
        match self {
            Suffered::Over { .. } | Suffered::AgentGone { .. } => {}
            Suffered::Partition(partition) => partition.heal(),
            Suffered::Gone { link, unsynced, .. } => {
                if unsynced {
                    node.disk().expect("it was lost").restore_power();
                }
                link.heal();
                herd.etcd().restart(node.host());
            }
            Suffered::ServerPaused => node.resume_server(),
            Suffered::AgentPaused => node.resume_agent(),
            Suffered::HostPaused => node.host().resume(),
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
            Suffered::DiskFull { .. } => node.disk().expect("it was filled").make_room(),
            Suffered::DiskStalled => node.disk().expect("it was stalled").go_on(),
            Suffered::SyncFails { failing, .. } => drop(failing),
            Suffered::ClockOff => node.clock().expect("it has jumped").be_off_by(0),
        }
    }
}
