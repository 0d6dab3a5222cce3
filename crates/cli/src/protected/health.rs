//! What `manada status` says of how a herd is protected.

use jiff::Timestamp;
use manada_agent::LostRecord;
use manada_agent::control::View;
use manada_agent::journal::{Entry, Event};
use manada_agent::wording::{self, names, policy};
use manada_core::action::Order;
use manada_core::input::{Outcome, StoreState};
use manada_core::obstacle::Obstacle;
use manada_core::policy::Published;
use manada_core::position::Epoch;
use manada_core::record::{Desired, Mode, Record, WhenShort};
use manada_core::standing::Standing;
use manada_herd::Node;
use manada_model::NodeName;
use manada_model::wording::duration;
use serde::Serialize;

use super::agent::Agent;
use super::blocked::{Blocked, blocked};
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
    store_lost: Option<&'a LostRecord>,
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
                let views = agent.views(own).await;
                let mut journals = Vec::new();
                if is_degraded(&views[0]) {
                    for view in &views {
                        journals.push(agent.journal_of(&view.node).await);
                    }
                }
                Protection::Seen {
                    views,
                    degraded_since: since(&journals),
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
            store_answers: own.map(|own| own.store_state != StoreState::Unreachable),
            store_lost: own.and_then(|own| own.lost.as_ref()),
            policies: record.map_or(&[], |record| &record.policies),
            desired: record.map(|record| &record.desired),
            degraded: own.is_some_and(is_degraded),
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

/// What the node remembered when its agent was started, where that is all it knows.
fn remembered(own: &View) -> Option<&Record> {
    own.remembered.as_ref().map(|record| &record.value)
}

fn reign(own: &View) -> String {
    let Some(record) = record(own).or_else(|| remembered(own)) else {
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
    let state = match own.lost {
        None => "Protected",
        Some(_) => "Not protected now; when the store had the herd's record, it was",
    };
    format!(
        "{state} in epoch {}, {who}; {}.",
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
    let lost = views.iter().find_map(|view| view.lost.as_ref());
    warnings.extend(lost.map(wording::loss));
    let Some(record) = record(own) else {
        return warnings;
    };
    if record.mode == Mode::Paused {
        warnings.push(format!(
            "Paused: nothing happens by itself until {}",
            paint(accent::TYPE, "manada resume")
        ));
    }
    if is_degraded(own) {
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
    for one in blocked(views) {
        let is_said = matches!(
            one.obstacle,
            Obstacle::ForeignSetting { .. }
                | Obstacle::ServerStarts { .. }
                | Obstacle::StartFails { .. }
                | Obstacle::StoreRefuses { .. }
        );
        if is_said {
            let remedy = paint(accent::TYPE, one.remedy.unwrap_or_default());
            warnings.push(format!("{}: {}. Next: {remedy}", one.node, one.because));
        }
    }
    for view in views {
        if let Standing::Stuck { .. } = view.standing {
            warnings.push(format!(
                "{} {}: {}",
                view.node,
                wording::standing(&view.standing),
                paint(accent::TYPE, "manada why")
            ));
        }
    }
    warnings
}

/// Whether commits wait for fewer standbys than the operator wants, who allowed that.
fn is_degraded(view: &View) -> bool {
    record(view).is_some_and(is_short)
}

fn is_short(record: &Record) -> bool {
    let fewer = |published: &Published| published.policy.count < record.desired.count;
    record.desired.when_short == WhenShort::Degrade && record.policies.iter().any(fewer)
}

/// Since when the record is short, whoever wrote it.
fn since(journals: &[Vec<Entry>]) -> Option<Timestamp> {
    let mut written: Vec<(Timestamp, bool)> = journals.iter().flat_map(|it| written(it)).collect();
    written.sort_by_key(|(at, _)| *at);
    let short = written.rsplit(|(_, is_short)| !is_short).next()?;
    short.first().map(|(at, _)| *at)
}

/// When a node has written a record, and whether it was short.
fn written(journal: &[Entry]) -> impl Iterator<Item = (Timestamp, bool)> {
    let mut ordered = None;
    journal.iter().filter_map(move |entry| match &entry.event {
        Event::Ordered { action, order, .. } => {
            if let Order::Swap { record, .. } = order.as_ref() {
                ordered = Some((*action, is_short(record)));
            }
            None
        }
        Event::Done {
            action, outcome, ..
        } if ordered.is_some_and(|(swap, _)| swap == *action) => {
            let (_, is_short) = ordered.take()?;
            matches!(**outcome, Outcome::Swapped { .. }).then_some((entry.at, is_short))
        }
        Event::Started { .. }
        | Event::Ended
        | Event::Server { .. }
        | Event::Foreign { .. }
        | Event::Commanded { .. }
        | Event::Done { .. }
        | Event::Missing { .. } => None,
    })
}
