//! `manada why`: why the herd acted, and why it does not.

use jiff::Timestamp;
use manada_agent::control::View;
use manada_agent::journal::{Entry, Event};
use manada_core::action::ActionId;
use manada_core::input::Outcome as ActionOutcome;
use manada_core::position::Epoch;
use manada_core::reason::Reason;
use manada_model::NodeName;
use manada_model::wording::{duration, shown};
use serde::Serialize;

use super::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::protected::{self, Agent, Blocked, blocked};
use crate::text::paragraph;
use crate::ui::{Format, Ui, accent, paint};

/// Say why a protected herd acted as it did, and why it does not act now.
///
/// First what each node is, and why it does no more: which node, by what, and what would unblock it.
/// Then what was done last, each with its reason, from the journals of all agents that answer. On
/// any host of the herd.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada why
  manada why --last 100
  manada why --format json")]
pub(crate) struct WhyArgs {
    /// How many of the latest deeds to show.
    #[arg(
        long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(0..=1000)
    )]
    last: u16,

    #[command(flatten)]
    which: LocalNodeArgs,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    herd: &'a str,
    epoch: Option<Epoch>,
    leader: Option<&'a NodeName>,
    nodes: Vec<Node<'a>>,
    blocked: Vec<Blocked<'a>>,
    deeds: &'a [Deed],
}

#[derive(Serialize)]
struct Node<'a> {
    node: &'a NodeName,
    standing: &'a manada_core::standing::Standing,
    is: String,
}

/// Something that a node did.
#[derive(Serialize)]
struct Deed {
    at: Timestamp,
    node: NodeName,
    epoch: Option<Epoch>,
    did: String,
    reason: Reason,
    because: String,
    outcome: Ended,
    took_ms: Option<u64>,
    error: Option<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Ended {
    Done,
    Failed,
    /// Somebody else was first.
    Conflict,
    Unknown,
    /// It has not ended, or its end was not written down.
    Open,
}

pub(crate) async fn run(args: &WhyArgs, ui: Ui) -> Result<Outcome, Failure> {
    let (agent, own) = Agent::find(&args.which).await?;
    let views = agent.views(own).await;
    let mut deeds = Vec::new();
    for view in &views {
        deeds.extend(deeds_in(&view.node, &agent.journal_of(&view.node).await));
    }
    deeds.sort_by_key(|deed| deed.at);
    deeds.drain(..deeds.len().saturating_sub(usize::from(args.last)));
    let own = &views[0];
    let record = own.record.as_ref().map(|record| &record.value);
    match ui.format() {
        Format::Json => ui.json(&Report {
            format: "manada.why/1",
            herd: own.herd.as_str(),
            epoch: record.map(|record| record.epoch),
            leader: record.and_then(|record| record.leader.as_ref()),
            nodes: views.iter().map(node).collect(),
            blocked: blocked(&views),
            deeds: &deeds,
        }),
        Format::Text => ui.text(text(&views, &deeds)),
    }
    Ok(Outcome::Done)
}

fn node(view: &View) -> Node<'_> {
    Node {
        node: &view.node,
        standing: &view.standing,
        is: protected::standing(&view.standing),
    }
}

/// The deeds in a node's journal, the oldest first.
fn deeds_in(node: &NodeName, entries: &[Entry]) -> Vec<Deed> {
    let mut deeds: Vec<(ActionId, Deed)> = Vec::new();
    for entry in entries {
        match &entry.event {
            Event::Ordered {
                action,
                order,
                reason,
            } => {
                if let Some(did) = protected::order(order) {
                    let deed = Deed {
                        at: entry.at,
                        node: node.clone(),
                        epoch: entry.epoch,
                        did,
                        reason: reason.clone(),
                        because: protected::reason(reason),
                        outcome: Ended::Open,
                        took_ms: None,
                        error: None,
                    };
                    deeds.push((*action, deed));
                }
            }
            Event::Done {
                action,
                outcome,
                took_ms,
                error,
            } => {
                let same = |(id, deed): &&mut (ActionId, Deed)| {
                    id == action && deed.outcome == Ended::Open
                };
                let same = deeds.iter_mut().rev().find(same);
                if let Some((_, deed)) = same {
                    deed.outcome = ended(outcome);
                    deed.took_ms = Some(*took_ms);
                    deed.error.clone_from(error);
                }
            }
            Event::Commanded { .. }
            | Event::Started { .. }
            | Event::Ended
            | Event::Server { .. }
            | Event::Missing { .. } => {}
        }
    }
    deeds.into_iter().map(|(_, deed)| deed).collect()
}

fn ended(outcome: &ActionOutcome) -> Ended {
    match outcome {
        ActionOutcome::Done | ActionOutcome::Swapped(_) | ActionOutcome::RuleWritten { .. } => {
            Ended::Done
        }
        ActionOutcome::Conflict(_) => Ended::Conflict,
        ActionOutcome::Unknown => Ended::Unknown,
        ActionOutcome::Failed => Ended::Failed,
    }
}

fn text(views: &[View], deeds: &[Deed]) -> String {
    let mut text = String::new();
    for view in views {
        let name = paint(accent::STRONG, &view.node);
        text += &paragraph(&format!("{name} "), &protected::standing(&view.standing));
    }
    let unheard = unheard(views);
    if !unheard.is_empty() {
        text += &paragraph(
            "",
            &format!("No word from the agents of {}.", unheard.join(", ")),
        );
    }
    text += &format!("\n{}\n", paint(accent::STRONG, "Why nothing more happens"));
    let blocked = blocked(views);
    if blocked.is_empty() {
        text += "  nothing is to be done\n";
    }
    for one in blocked {
        text += &paragraph(&format!("  {}: ", one.node), &one.because);
        if let Some(remedy) = one.remedy {
            text += &paragraph("    next: ", &paint(accent::TYPE, remedy));
        }
    }
    text += &format!("\n{}\n", paint(accent::STRONG, "What was done, and why"));
    if deeds.is_empty() {
        text += "  nothing that is in the journals\n";
    }
    for deed in deeds {
        text += &paragraph(&format!("  {} ", clock(deed.at)), &told(deed));
    }
    text
}

/// Members whose agents gave no answer.
fn unheard(views: &[View]) -> Vec<String> {
    let members = views.iter().find_map(|view| view.record.as_ref());
    let members = members
        .into_iter()
        .flat_map(|record| record.value.members.keys());
    members
        .filter(|name| views.iter().all(|view| view.node != **name))
        .map(ToString::to_string)
        .collect()
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn told(deed: &Deed) -> String {
    let took = deed.took_ms.map(std::time::Duration::from_millis);
    let how = match (deed.outcome, took) {
        (Ended::Done, Some(took)) => format!(" ({})", duration(took)),
        (Ended::Done | Ended::Open, _) => String::new(),
        (Ended::Failed, _) => " (failed)".to_owned(),
        (Ended::Conflict, _) => " (somebody else was first)".to_owned(),
        (Ended::Unknown, _) => " (whether it was done is not known)".to_owned(),
    };
    let error = deed.error.as_ref();
    // What a server said may have several lines.
    let in_one_line = |error: &String| error.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = error.map_or_else(String::new, |error| {
        format!(": {}", shown(&in_one_line(error)))
    });
    format!("{} {}{how}{error}: {}", deed.node, deed.did, deed.because)
}
