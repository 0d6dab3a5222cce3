//! What `manada status` says of how a herd is protected.

use jiff::Timestamp;
use manada_agent::control::View;
use manada_agent::journal::{Entry, Event};
use manada_core::action::Order;
use manada_core::input::StoreState;
use manada_core::policy::Published;
use manada_core::position::Epoch;
use manada_core::record::{Desired, Mode, Record, WhenShort};
use manada_core::standing::Standing;
use manada_herd::Node;
use manada_model::NodeName;
use manada_model::wording::duration;
use serde::Serialize;

use super::agent::Agent;
use super::obstacle::names;
use super::standing::{Blocked, blocked, policy};
use crate::text::paragraph;
use crate::ui::{accent, paint};

/// How a herd is protected, as its agents see it.
pub(crate) enum Protection {
    /// The agent of this host does not answer.
    NoAgent {
        /// Why.
        why: String,
    },
    /// It does.
    Seen {
        /// What the agents see that answer, this host's first.
        views: Vec<View>,
        /// Since when commits wait for fewer standbys than the operator wants.
        degraded_since: Option<Timestamp>,
    },
}

/// The same for programs.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    agent: bool,
    epoch: Option<Epoch>,
    leader: Option<&'a NodeName>,
    lease_age_ms: Option<u64>,
    mode: Option<Mode>,
    store: Option<&'a str>,
    store_answers: Option<bool>,
    policies: &'a [Published],
    desired: Option<&'a Desired>,
    degraded: bool,
    degraded_since: Option<Timestamp>,
    nodes: Vec<NodeReport<'a>>,
    blocked: Vec<Blocked<'a>>,
}

#[derive(Serialize)]
struct NodeReport<'a> {
    node: &'a NodeName,
    standing: &'a Standing,
}

impl Protection {
    /// What is so now; `None` where no agent was ever told to protect the node.
    pub(crate) async fn of(node: &Node) -> Option<Protection> {
        node.file.protect.as_ref()?;
        Some(match Agent::of(node.clone()).await {
            Err(failure) => Protection::NoAgent {
                why: failure.why().unwrap_or_default().to_owned(),
            },
            Ok((agent, own)) => {
                let degraded_since = match degraded(&own) {
                    Some(leader) => since(&agent.journal_of(leader).await),
                    None => None,
                };
                Protection::Seen {
                    views: agent.views(own).await,
                    degraded_since,
                }
            }
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        match self {
            Protection::NoAgent { why } => paragraph(
                &paint(accent::BAD, "! "),
                &format!("This host's agent does not answer: {why}. It protects nothing now."),
            ),
            Protection::Seen {
                views,
                degraded_since,
            } => {
                let own = &views[0];
                let mut text = paragraph("", &reign(own));
                for warning in warnings(views, *degraded_since) {
                    text += &paragraph(&paint(accent::WARN, "! "), &warning);
                }
                text
            }
        }
    }

    /// For programs.
    pub(crate) fn report(&self) -> Report<'_> {
        let (views, degraded_since) = match self {
            Protection::NoAgent { .. } => (&[][..], None),
            Protection::Seen {
                views,
                degraded_since,
            } => (views.as_slice(), *degraded_since),
        };
        let own = views.first();
        let record = own.and_then(record);
        Report {
            agent: own.is_some(),
            epoch: record.map(|record| record.epoch),
            leader: record.and_then(|record| record.leader.as_ref()),
            lease_age_ms: own.and_then(|own| own.lease.as_ref()).map(|age| age.age_ms),
            mode: record.map(|record| record.mode),
            store: own.map(|own| own.store.as_str()),
            store_answers: own.map(|own| own.store_state == StoreState::Reachable),
            policies: record.map_or(&[], |record| &record.policies),
            desired: record.map(|record| &record.desired),
            degraded: own.and_then(degraded).is_some(),
            degraded_since,
            nodes: (views.iter())
                .map(|view| NodeReport {
                    node: &view.node,
                    standing: &view.standing,
                })
                .collect(),
            blocked: blocked(views),
        }
    }
}

fn record(view: &View) -> Option<&Record> {
    view.record.as_ref().map(|record| &record.value)
}

fn reign(own: &View) -> String {
    let Some(record) = record(own) else {
        return "The agents have no record of the herd yet.".to_owned();
    };
    let who = match &record.leader {
        Some(leader) => {
            let age = match &own.lease {
                Some(age) if age.lease.leader == *leader => {
                    let age = std::time::Duration::from_millis(age.age_ms);
                    format!(", last sign of life {} ago", duration(age))
                }
                Some(_) | None => ", no sign of life yet".to_owned(),
            };
            format!("led by {leader}{age}")
        }
        None => format!("nobody leads, {} elects", record.coordinator),
    };
    let published: Vec<String> = (record.policies.iter())
        .map(|published| format!("under {} {}", published.leader, policy(&published.policy)))
        .collect();
    format!(
        "Protected in epoch {}, {who}; {}.",
        record.epoch,
        published.join(", and ")
    )
}

fn warnings(views: &[View], degraded_since: Option<Timestamp>) -> Vec<String> {
    let own = &views[0];
    let mut warnings = Vec::new();
    if own.store_state == StoreState::Unreachable {
        warnings.push(format!(
            "The store ({}) does not answer. Writes go on; no failover and no change of what \
             commits wait for until it does.",
            own.store
        ));
    }
    let Some(record) = record(own) else {
        return warnings;
    };
    if record.mode == Mode::Paused {
        warnings.push(format!(
            "Paused: nothing happens by itself until {}",
            paint(accent::TYPE, "manada resume")
        ));
    }
    if degraded(own).is_some() {
        let since = degraded_since.map_or_else(String::new, |since| {
            format!(" since {}", since.strftime("%Y-%m-%d %H:%M:%SZ"))
        });
        warnings.push(format!(
            "Degraded{since}: {} standbys are wanted, and commits wait for fewer.",
            record.desired.count
        ));
    }
    let answered = |name: &&NodeName| views.iter().any(|view| view.node == **name);
    let silent: Vec<NodeName> = (record.members.keys())
        .filter(|name| !answered(name))
        .cloned()
        .collect();
    if !silent.is_empty() {
        warnings.push(format!("No word from the agents of {}.", names(&silent)));
    }
    for view in views {
        if let Standing::Stuck { .. } = view.standing {
            warnings.push(format!(
                "{} {}: {}",
                view.node,
                super::standing::sentence(&view.standing),
                paint(accent::TYPE, "manada why")
            ));
        }
    }
    warnings
}

/// The leader, where commits wait for fewer standbys than the operator wants, who allowed that.
fn degraded(view: &View) -> Option<&NodeName> {
    let record = record(view)?;
    is_short(record).then_some(record.leader.as_ref()?)
}

fn is_short(record: &Record) -> bool {
    let fewer = |published: &Published| published.policy.count < record.desired.count;
    record.desired.when_short == WhenShort::Degrade && record.policies.iter().any(fewer)
}

/// Since when the record says so that this node wrote.
fn since(journal: &[Entry]) -> Option<Timestamp> {
    let mut since = None;
    for entry in journal {
        if let Event::Ordered { order, .. } = &entry.event
            && let Order::Swap { record, .. } = order.as_ref()
        {
            since = is_short(record).then(|| since.unwrap_or(entry.at));
        }
    }
    since
}
