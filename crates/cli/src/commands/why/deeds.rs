//! What agents' journals say was done, and why.

use jiff::Timestamp;
use manada_agent::journal::{Entry, Event};
use manada_agent::wording;
use manada_core::action::{ActionId, Order};
use manada_core::input::Outcome;
use manada_core::position::Epoch;
use manada_core::reason::Reason;
use manada_core::record::Record;
use manada_core::server::Gate;
use manada_model::NodeName;
use serde::Serialize;

/// Something that a node did, or was told to do.
#[derive(Serialize)]
pub(super) struct Deed {
    pub(super) at: Timestamp,
    pub(super) node: NodeName,
    pub(super) epoch: Option<Epoch>,
    pub(super) did: String,
    /// What the core says why; `None` for what an operator asked for.
    pub(super) reason: Option<Reason>,
    pub(super) because: String,
    pub(super) outcome: Ended,
    pub(super) took_ms: Option<u64>,
    pub(super) error: Option<String>,
    /// Whether it goes on all the time, and is told only where it fails.
    #[serde(skip)]
    pub(super) is_routine: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    Done,
    Failed,
    /// It would have come to nothing.
    Refused,
    /// Somebody else was first.
    Conflict,
    Unknown,
    /// It has not ended, or its end was not written down.
    Open,
}

/// A change of the leader, from the first step to clients getting in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failover {
    pub(super) epoch: Epoch,
    /// When the epoch was raised, by its coordinator's clock.
    pub(super) began_at: Timestamp,
    pub(super) coordinator: NodeName,
    pub(super) reason: Reason,
    pub(super) because: String,
    /// Who was chosen.
    pub(super) leader: Option<NodeName>,
    /// Why that could be.
    pub(super) chosen_because: Option<String>,
    /// When the new leader let clients in, by its own clock.
    pub(super) open_at: Option<Timestamp>,
}

/// A node's journal.
pub(super) struct Journal {
    pub(super) node: NodeName,
    pub(super) entries: Vec<Entry>,
}

/// The records that these journals have a word of, each with the time at which it was to be written;
/// the oldest first.
pub(super) fn records(journals: &[Journal]) -> Vec<(Timestamp, &Record)> {
    let entries = journals.iter().flat_map(|journal| &journal.entries);
    let mut records: Vec<(Timestamp, &Record)> = entries
        .filter_map(|entry| Some((entry.at, record_in(entry)?)))
        .collect();
    records.sort_by_key(|(at, _)| *at);
    records
}

impl Journal {
    /// The deeds in it, the oldest first. `records` are those of all nodes.
    pub(super) fn deeds(&self, records: &[(Timestamp, &Record)]) -> Vec<Deed> {
        let mut deeds: Vec<(Option<ActionId>, Deed)> = Vec::new();
        for entry in &self.entries {
            match &entry.event {
                Event::Commanded { .. } | Event::Ordered { .. } => {
                    let before = records.partition_point(|(at, _)| *at < entry.at);
                    let before = before.checked_sub(1).map(|last| records[last].1);
                    deeds.extend(self.begun(entry, before));
                }
                Event::Done {
                    action,
                    outcome,
                    took_ms,
                    error,
                } => {
                    let same = |(id, deed): &&mut (Option<ActionId>, Deed)| {
                        *id == Some(*action) && deed.outcome == Ended::Open
                    };
                    if let Some((_, deed)) = deeds.iter_mut().rev().find(same) {
                        deed.outcome = ended(outcome);
                        deed.took_ms = Some(*took_ms);
                        deed.error.clone_from(error);
                    }
                }
                Event::Started { .. }
                | Event::Ended
                | Event::Server { .. }
                | Event::Foreign { .. }
                | Event::Missing { .. } => {}
            }
        }
        let mut told: Vec<Deed> = Vec::new();
        for (_, deed) in deeds {
            if deed.is_routine {
                if !matches!(deed.outcome, Ended::Failed | Ended::Unknown) {
                    continue;
                }
                // It is tried again and again: the last time is enough.
                told.retain(|other| (&other.did, &other.error) != (&deed.did, &deed.error));
            }
            told.push(deed);
        }
        told
    }

    fn begun(&self, entry: &Entry, before: Option<&Record>) -> Option<(Option<ActionId>, Deed)> {
        let deed = |did, reason: Option<&Reason>, because, outcome| Deed {
            at: entry.at,
            node: self.node.clone(),
            epoch: entry.epoch,
            did,
            reason: reason.cloned(),
            because,
            outcome,
            took_ms: None,
            error: None,
            is_routine: false,
        };
        match &entry.event {
            Event::Ordered {
                action,
                order,
                reason,
            } => {
                let did = wording::order(order, before)?;
                let because = match record_in(entry) {
                    Some(record) if admits(record, before) => {
                        "the herd's list of members, or a node's own file, says so".to_owned()
                    }
                    Some(_) | None => wording::reason(reason),
                };
                let deed = Deed {
                    is_routine: wording::is_routine(order),
                    ..deed(did, Some(reason), because, Ended::Open)
                };
                Some((Some(*action), deed))
            }
            Event::Commanded {
                from,
                command,
                refused,
            } => {
                let did = format!("was told to {}", wording::command(command));
                let (because, outcome) = match refused {
                    None => (format!("an operator on {from} wants it"), Ended::Done),
                    Some(obstacle) => (wording::obstacle(obstacle), Ended::Refused),
                };
                Some((None, deed(did, None, because, outcome)))
            }
            Event::Done { .. }
            | Event::Started { .. }
            | Event::Ended
            | Event::Server { .. }
            | Event::Foreign { .. }
            | Event::Missing { .. } => None,
        }
    }
}

/// Whether a record differs from the former one by its members, which no operator types.
fn admits(record: &Record, before: Option<&Record>) -> bool {
    before.is_some_and(|before| {
        before.epoch == record.epoch && before.members != record.members && record.leader.is_some()
    })
}

fn record_in(entry: &Entry) -> Option<&Record> {
    let Event::Ordered { order, .. } = &entry.event else {
        return None;
    };
    match order.as_ref() {
        Order::Swap { record, .. } => Some(record),
        _ => None,
    }
}

fn ended(outcome: &Outcome) -> Ended {
    match outcome {
        Outcome::Done | Outcome::Swapped { .. } | Outcome::RuleWritten { .. } => Ended::Done,
        Outcome::Conflict(_) => Ended::Conflict,
        Outcome::Unknown => Ended::Unknown,
        Outcome::Failed | Outcome::Hindered => Ended::Failed,
    }
}

/// The changes of the leader that the journals tell of, the oldest first.
pub(super) fn failovers(journals: &[Journal]) -> Vec<Failover> {
    let mut failovers: Vec<Failover> = Vec::new();
    let mut entries: Vec<(&NodeName, &Entry)> = journals
        .iter()
        .flat_map(|journal| journal.entries.iter().map(|entry| (&journal.node, entry)))
        .collect();
    entries.sort_by_key(|(_, entry)| entry.at);
    for (node, entry) in entries {
        let Event::Ordered { order, reason, .. } = &entry.event else {
            continue;
        };
        match order.as_ref() {
            Order::Swap { record, .. } => match &record.leader {
                None => failovers.push(Failover {
                    epoch: record.epoch,
                    began_at: entry.at,
                    coordinator: node.clone(),
                    reason: reason.clone(),
                    because: wording::reason(reason),
                    leader: None,
                    chosen_because: None,
                    open_at: None,
                }),
                Some(leader) => {
                    let begun = failovers.iter_mut().rev().find(|one| {
                        one.epoch == record.epoch
                            && one.coordinator == *node
                            && one.leader.is_none()
                    });
                    if let Some(begun) = begun {
                        begun.leader = Some(leader.clone());
                        begun.chosen_because = Some(wording::reason(reason));
                    }
                }
            },
            Order::SetGate(Gate::Open) => {
                let opened = failovers.iter_mut().rev().find(|one| {
                    one.leader.as_ref() == Some(node) && entry.epoch == Some(one.epoch)
                });
                if let Some(opened) = opened {
                    opened.open_at.get_or_insert(entry.at);
                }
            }
            _ => {}
        }
    }
    failovers
}
