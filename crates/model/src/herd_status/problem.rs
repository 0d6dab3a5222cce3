//! What is wrong in a herd, or about to be, as far as its status shows it.

use std::time::Duration;

use serde::Serialize;

use super::{Node, PolicyState, Role, the_primary};
use crate::{
    Replay, ServerStatus, SlotName, SlotWal, SyncPolicy, SynchronousCommit, SystemIdentifier,
    TimelineId, Visible, millis,
};

/// Something that needs a person. `doctor` looks for more, and says how to mend it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Problem {
    /// Servers answered, and none of them takes writes.
    NoPrimary,
    /// More than one server of this cluster takes writes.
    SeveralPrimaries {
        /// Their names.
        nodes: Vec<String>,
    },
    /// A server that belongs to another cluster.
    OtherCluster {
        /// Its name.
        node: String,
        /// The cluster it belongs to.
        system_identifier: SystemIdentifier,
    },
    /// Physical replication works within one major version.
    MixedVersions {
        /// A server of another major version than the first.
        node: String,
        /// Its major version.
        major: u32,
    },
    /// A standby on a timeline that is not the primary's.
    OtherTimeline {
        /// Its name.
        node: String,
        /// Its timeline.
        timeline: TimelineId,
        /// The primary's.
        primary_timeline: TimelineId,
    },
    /// A standby that receives nothing.
    NotReceiving {
        /// Its name.
        node: String,
    },
    /// Replay is paused on a standby.
    ReplayPaused {
        /// Its name.
        node: String,
    },
    /// A standby has less of a setting than its primary: it pauses its replay where the WAL says so,
    /// and then does not start any more.
    LimitsTooLow {
        /// Its name.
        node: String,
        /// The primary's.
        primary: String,
        /// What it has less of.
        limits: Vec<LowLimit>,
    },
    /// Fewer standbys stream than a commit waits for: writes hang.
    PolicyUnsatisfied {
        /// How many a commit waits for.
        needed: u32,
        /// Those that stream.
        streaming: Vec<String>,
        /// The names without one.
        missing: Vec<String>,
    },
    /// There is a policy, and `synchronous_commit` passes it by.
    PolicyBypassed {
        /// The level by default.
        synchronous_commit: SynchronousCommit,
    },
    /// Commits have been waiting for a standby for some time.
    CommitsWaiting {
        /// How many.
        count: u32,
        /// The oldest one's wait.
        #[serde(rename = "longest_ms", with = "millis")]
        longest: Duration,
    },
    /// A slot whose WAL is gone, or goes at the next checkpoint.
    SlotLosesWal {
        /// The server that has it.
        node: String,
        /// The slot.
        slot: SlotName,
        /// Gone already.
        lost: bool,
    },
    /// A slot that nobody uses and that holds WAL.
    SlotUnused {
        /// The server that has it.
        node: String,
        /// The slot.
        slot: SlotName,
        /// The WAL it holds.
        retained_bytes: u64,
    },
    /// The last attempt to archive failed.
    ArchivingFails {
        /// The server.
        node: String,
        /// The segment.
        wal: String,
    },
}

/// A setting of which a standby has less than its primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LowLimit {
    /// The parameter.
    pub name: String,
    /// Its value on the standby.
    pub standby: u32,
    /// Its value on the primary.
    pub primary: u32,
}

/// How long a commit may wait before it is called a problem.
const COMMIT_WAIT_PROBLEM: Duration = Duration::from_secs(1);

/// Every problem, the worst first.
pub(super) fn find(nodes: &[Node], policy: Option<&PolicyState>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(primaries(nodes));
    problems.extend(policy.into_iter().flat_map(policy_problems));
    problems.extend(waiting(nodes));
    problems.extend(strangers(nodes));
    for node in nodes {
        if let Some(status) = node.status() {
            problems.extend(standby_problems(nodes, node, status));
            problems.extend(slots(node, status));
            problems.extend(archiving(node, status));
        }
    }
    problems
}

fn primaries(nodes: &[Node]) -> Option<Problem> {
    let primaries: Vec<String> = nodes
        .iter()
        .filter(|node| node.role() == Role::Primary)
        .map(|node| node.name.clone())
        .collect();
    match primaries.len() {
        0 if nodes.iter().any(|node| node.status().is_some()) => Some(Problem::NoPrimary),
        0 | 1 => None,
        _ => Some(Problem::SeveralPrimaries { nodes: primaries }),
    }
}

fn policy_problems(state: &PolicyState) -> Vec<Problem> {
    let mut problems = Vec::new();
    if state.policy.as_ref().and_then(SyncPolicy::rule).is_none() {
        return problems;
    }
    if state.is_satisfied() == Some(false) {
        problems.push(Problem::PolicyUnsatisfied {
            needed: state.needed(),
            streaming: state.streaming.shown().cloned().unwrap_or_default(),
            missing: state.missing.shown().cloned().unwrap_or_default(),
        });
    }
    if state.synchronous_commit < SynchronousCommit::RemoteWrite {
        problems.push(Problem::PolicyBypassed {
            synchronous_commit: state.synchronous_commit,
        });
    }
    problems
}

fn waiting(nodes: &[Node]) -> Option<Problem> {
    let (_, _, primary) = the_primary(nodes)?;
    let waiting = primary.waiting_commits.shown()?;
    let longest = waiting
        .longest
        .filter(|wait| *wait >= COMMIT_WAIT_PROBLEM)?;
    Some(Problem::CommitsWaiting {
        count: waiting.count,
        longest,
    })
}

/// Servers that can't be of this herd: compared with the primary, else with the first to answer.
fn strangers(nodes: &[Node]) -> Vec<Problem> {
    let reference = the_primary(nodes)
        .map(|(_, status, _)| status)
        .or_else(|| nodes.iter().find_map(Node::status));
    let Some(reference) = reference else {
        return Vec::new();
    };
    let major = |status: &ServerStatus| status.version.0 / 10_000;
    let mut problems = Vec::new();
    for node in nodes {
        let Some(status) = node.status() else {
            continue;
        };
        if status.system_identifier != reference.system_identifier {
            problems.push(Problem::OtherCluster {
                node: node.name.clone(),
                system_identifier: status.system_identifier,
            });
        } else if major(status) != major(reference) {
            problems.push(Problem::MixedVersions {
                node: node.name.clone(),
                major: major(status),
            });
        }
    }
    problems
}

fn standby_problems(nodes: &[Node], node: &Node, status: &ServerStatus) -> Vec<Problem> {
    let Some(standby) = status.standby() else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let name = || node.name.clone();
    if let Visible::Shown(None) = standby.walreceiver {
        problems.push(Problem::NotReceiving { node: name() });
    }
    let primary = the_primary(nodes)
        .filter(|(_, primary, _)| primary.system_identifier == status.system_identifier);
    let limits = primary.map_or_else(Vec::new, |(_, primary, _)| low_limits(status, primary));
    if let Some((primary, ..)) = primary
        && !limits.is_empty()
    {
        // Replay that has paused by itself can't be resumed.
        problems.push(Problem::LimitsTooLow {
            node: name(),
            primary: primary.name.clone(),
            limits,
        });
    } else if standby.replay != Replay::Running {
        problems.push(Problem::ReplayPaused { node: name() });
    }
    let primary_timeline = primary.map(|(_, _, primary)| primary.timeline);
    if let (Some(timeline), Some(primary_timeline)) = (standby.timeline, primary_timeline)
        && timeline != primary_timeline
    {
        problems.push(Problem::OtherTimeline {
            node: name(),
            timeline,
            primary_timeline,
        });
    }
    problems
}

fn slots(node: &Node, status: &ServerStatus) -> Vec<Problem> {
    let mut problems = Vec::new();
    for slot in &status.slots {
        let name = slot.name.clone();
        let node = node.name.clone();
        match slot.wal_status {
            Some(SlotWal::Lost) => problems.push(Problem::SlotLosesWal {
                node,
                slot: name,
                lost: true,
            }),
            Some(SlotWal::Unreserved) => problems.push(Problem::SlotLosesWal {
                node,
                slot: name,
                lost: false,
            }),
            Some(SlotWal::Reserved | SlotWal::Extended) | None => {
                if let (None, Some(retained_bytes)) = (slot.active_pid, slot.retained_bytes) {
                    problems.push(Problem::SlotUnused {
                        node,
                        slot: name,
                        retained_bytes,
                    });
                }
            }
        }
    }
    problems
}

fn archiving(node: &Node, status: &ServerStatus) -> Option<Problem> {
    status
        .archiver
        .is_failing()
        .then(|| Problem::ArchivingFails {
            node: node.name.clone(),
            wal: status.archiver.last_failed_wal.clone().unwrap_or_default(),
        })
}

/// What the standby has less of than the primary.
fn low_limits(standby: &ServerStatus, primary: &ServerStatus) -> Vec<LowLimit> {
    let pairs = primary.recovery_limits.iter().filter_map(|(name, there)| {
        let here = standby.recovery_limits.get(name)?;
        (here < there).then(|| LowLimit {
            name: name.clone(),
            standby: *here,
            primary: *there,
        })
    });
    pairs.collect()
}
