//! From a herd's status to the trees that are drawn.

use std::collections::HashMap;

use manada_model::wording::size;
use manada_model::{self as model, HerdStatus, NodeState, Problem, SlotWal, WalsenderState};

use crate::picture::{Arrow, Condition, Follower, Lag, Link, Node, Role, Slot, SlotState};

/// The herd's servers, each below the one that it streams from.
///
/// One that streams from nobody, and should, hangs on the only primary by a broken arrow. What
/// belongs nowhere stands for itself.
pub fn forest(status: &HerdStatus) -> Vec<Node> {
    let mut below: HashMap<&str, Vec<&model::Node>> = HashMap::new();
    let mut roots = Vec::new();
    for node in &status.nodes {
        match upstream(status, node) {
            Some(upstream) => below.entry(&upstream.name).or_default().push(node),
            None => roots.push(node),
        }
    }
    let mut grower = Grower { status, below };
    let mut trees: Vec<Node> = roots.into_iter().map(|root| grower.tree(root)).collect();
    // Whoever is left streams in a circle, which only servers that change while they are asked can
    // show: the circle is cut at the first of them.
    for node in &status.nodes {
        if grower.is_waiting(node) {
            trees.push(grower.tree(node));
        }
    }
    trees
}

/// The server a node streams from, or should.
fn upstream<'a>(status: &'a HerdStatus, node: &model::Node) -> Option<&'a model::Node> {
    if node.role() == model::Role::Primary {
        return None;
    }
    let known = match &node.upstream {
        Some(upstream) => upstream.node.as_deref().and_then(|name| status.node(name)),
        None => status.primary().filter(|_| !is_stranger(status, node)),
    };
    known.filter(|upstream| upstream.name != node.name)
}

/// Whether a node answered, and for another cluster than the herd's.
fn is_stranger(status: &HerdStatus, node: &model::Node) -> bool {
    node.status()
        .is_some_and(|said| Some(said.system_identifier) != status.system_identifier())
}

struct Grower<'a> {
    status: &'a HerdStatus,
    /// Those not yet drawn, by the name of their upstream.
    below: HashMap<&'a str, Vec<&'a model::Node>>,
}

impl<'a> Grower<'a> {
    fn is_waiting(&self, node: &model::Node) -> bool {
        let waiting = |nodes: &Vec<&model::Node>| nodes.iter().any(|other| other.name == node.name);
        self.below.values().any(waiting)
    }

    fn tree(&mut self, node: &'a model::Node) -> Node {
        for waiting in self.below.values_mut() {
            waiting.retain(|other| other.name != node.name);
        }
        let standbys = self.below.remove(node.name.as_str()).unwrap_or_default();
        let followers = standbys.into_iter().map(|standby| Follower {
            arrow: arrow(node, standby),
            node: self.tree(standby),
        });
        Node {
            standbys: followers.collect(),
            ..self.server(node)
        }
    }

    fn server(&self, node: &model::Node) -> Node {
        let said = node.status();
        let role = match node.role() {
            model::Role::Primary => Role::Primary,
            model::Role::Standby => Role::Standby,
            // A slot of its own says what it is, or was.
            model::Role::Unknown if self.slot_of(node).is_some() => Role::Standby,
            model::Role::Unknown => Role::Unknown,
        };
        Node {
            name: node.name.clone(),
            role,
            address: self
                .status
                .address_of(node)
                .filter(|address| *address != node.name),
            version: said.map(|said| said.version.to_string()),
            timeline: said.and_then(model::ServerStatus::timeline),
            condition: self.condition(node),
            standbys: Vec::new(),
        }
    }

    fn slot_of(&self, node: &model::Node) -> Option<&model::Slot> {
        let slots = self.status.primary()?.status()?.slots.iter();
        slots.into_iter().find(|slot| bears(&slot.name, node))
    }

    fn condition(&self, node: &model::Node) -> Condition {
        match &node.state {
            NodeState::Unreachable { reason, .. } => {
                // Where it was asked stands above already.
                let asked = node.endpoint.as_deref().unwrap_or_default();
                let why = reason.strip_prefix(&format!("connecting to {asked}: "));
                Condition::Unreachable(why.unwrap_or(reason).to_owned())
            }
            NodeState::SeenByUpstream => {
                Condition::Ailing("not asked: known from its upstream alone".to_owned())
            }
            NodeState::Answered(_) => {
                let problems = self.status.problems.iter();
                let ailments: Vec<String> = problems
                    .filter_map(|problem| self.ailment(problem, node))
                    .collect();
                if ailments.is_empty() {
                    Condition::Answering
                } else {
                    Condition::Ailing(ailments.join("; "))
                }
            }
        }
    }

    /// What a problem is for this server; nothing where the arrow that leads to it says it already.
    fn ailment(&self, problem: &Problem, node: &model::Node) -> Option<String> {
        let is_primary = node.role() == model::Role::Primary;
        let on = |name: &String, words: String| (*name == node.name).then_some(words);
        match problem {
            Problem::SeveralPrimaries { nodes } => nodes
                .contains(&node.name)
                .then(|| "not the only primary".to_owned()),
            Problem::OtherCluster {
                node,
                system_identifier,
            } => on(node, format!("of another cluster, {system_identifier}")),
            Problem::MixedVersions { node, .. } => on(node, "another major version".to_owned()),
            Problem::OtherTimeline {
                node,
                primary_timeline,
                ..
            } => on(
                node,
                format!("the primary is on timeline {primary_timeline}"),
            ),
            Problem::LimitsTooLow { node, .. } => {
                on(node, "its limits are below the primary's".to_owned())
            }
            Problem::ReplayPaused { node } => on(node, "replay is paused".to_owned()),
            Problem::PolicyUnsatisfied {
                needed, streaming, ..
            } => is_primary.then(|| {
                let streaming = streaming.len();
                format!("commits hang: they wait for {needed}, and {streaming} of the named stream")
            }),
            Problem::CommitsWaiting { count, .. } => {
                is_primary.then(|| format!("{count} waiting for a standby"))
            }
            Problem::PolicyBypassed { synchronous_commit } => is_primary.then(|| {
                let level = match synchronous_commit {
                    model::SynchronousCommit::Off => "off",
                    model::SynchronousCommit::Local => "local",
                    model::SynchronousCommit::RemoteWrite => "remote_write",
                    model::SynchronousCommit::On => "on",
                    model::SynchronousCommit::RemoteApply => "remote_apply",
                };
                format!("synchronous_commit = {level} passes the policy by")
            }),
            Problem::ArchivingFails { node, .. } => on(node, "archiving fails".to_owned()),
            Problem::SlotUnused {
                node: upstream,
                slot,
                retained_bytes,
            } if !self.is_drawn(slot) => on(
                upstream,
                format!(
                    "slot {slot} is unused and holds {} of WAL",
                    size(*retained_bytes)
                ),
            ),
            Problem::SlotLosesWal {
                node: upstream,
                slot,
                ..
            } if !self.is_drawn(slot) => on(upstream, format!("slot {slot} loses its WAL")),
            Problem::NoPrimary
            | Problem::NotReceiving { .. }
            | Problem::SlotLosesWal { .. }
            | Problem::SlotUnused { .. } => None,
        }
    }

    /// Whether an arrow tells of a slot: one that is for nobody who is known has none.
    fn is_drawn(&self, slot: &model::SlotName) -> bool {
        self.status.nodes.iter().any(|node| bears(slot, node))
    }
}

fn arrow(upstream: &model::Node, standby: &model::Node) -> Arrow {
    let slots = upstream.status().map_or(&[][..], |said| &said.slots);
    Arrow {
        link: link(upstream, standby),
        slot: slots
            .iter()
            .find(|slot| bears(&slot.name, standby))
            .map(drawn_slot),
    }
}

fn link(upstream: &model::Node, standby: &model::Node) -> Link {
    let Some(walsender) = standby.walsender() else {
        return match upstream.status() {
            Some(_) => Link::Broken,
            None => Link::Unknown,
        };
    };
    let Some(progress) = walsender.progress.shown() else {
        return Link::Unknown;
    };
    let lag = standby.lag.unwrap_or_default();
    // A receiver that is no server replays nothing.
    let point = if lag.replay.bytes.is_some() {
        lag.replay
    } else {
        lag.flush
    };
    let lag = Lag {
        bytes: point.bytes,
        time: point.time,
    };
    match progress.state {
        WalsenderState::Streaming => Link::Streaming(progress.sync_state, lag),
        WalsenderState::Startup
        | WalsenderState::Catchup
        | WalsenderState::Backup
        | WalsenderState::Stopping => Link::CatchingUp(progress.sync_state, lag),
    }
}

/// Whether a slot holds WAL for a node: the one that its walsender serves, or that bears its name.
fn bears(slot: &model::SlotName, node: &model::Node) -> bool {
    let served = node.walsender().map(|walsender| &walsender.slot_name);
    match served {
        Some(Some(served)) => served == slot,
        Some(None) => false,
        None => slot.node().is_some_and(|named| named.as_str() == node.name),
    }
}

fn drawn_slot(slot: &model::Slot) -> Slot {
    Slot {
        name: slot.name.to_string(),
        state: match (slot.wal_status, slot.active_pid) {
            (Some(SlotWal::Lost), _) => SlotState::Lost,
            (Some(SlotWal::Unreserved), _) => SlotState::Unreserved,
            (Some(SlotWal::Reserved | SlotWal::Extended) | None, Some(_)) => SlotState::Active,
            (Some(SlotWal::Reserved | SlotWal::Extended) | None, None) => SlotState::Inactive,
        },
        retained_bytes: slot.retained_bytes,
    }
}
