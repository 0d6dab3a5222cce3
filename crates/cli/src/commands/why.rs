//! `manada why`: why the herd acted, and why it does not.

mod deeds;

use jiff::Timestamp;
use manada_agent::control::View;
use manada_agent::wording;
use manada_core::obstacle::Obstacle;
use manada_core::position::Epoch;
use manada_model::NodeName;
use manada_model::wording::{duration, shown};
use serde::Serialize;

use super::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::protected::{Agent, Blocked, blocked};
use crate::text::paragraph;
use crate::ui::{Format, Ui, accent, paint};
use deeds::{Deed, Ended, Failover, Journal, failovers, records};

/// Say why a protected herd acted as it did, and why it does not act now.
///
/// First what each node is, and why nothing more happens: which node blocks, by what, and what would
/// unblock it. Then the last changes of the leader, and what was done last, each with its reason,
/// from the journals of all agents that answer. On any host of the herd.
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

/// How many changes of the leader are told.
const FAILOVERS_MAX: usize = 5;

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    herd: &'a str,
    epoch: Option<Epoch>,
    leader: Option<&'a NodeName>,
    nodes: Vec<Node<'a>>,
    blocked: Vec<Blocked<'a>>,
    failovers: &'a [Failover],
    deeds: &'a [Deed],
}

#[derive(Serialize)]
struct Node<'a> {
    node: &'a NodeName,
    standing: &'a manada_core::standing::Standing,
    is: String,
}

pub(crate) async fn run(args: &WhyArgs, ui: Ui) -> Result<Outcome, Failure> {
    let (agent, own) = Agent::find(&args.which).await?;
    let views = agent.views(own).await;
    let mut journals = Vec::new();
    for view in &views {
        journals.push(Journal {
            node: view.node.clone(),
            entries: agent.journal_of(&view.node).await,
        });
    }
    let mut failovers = failovers(&journals);
    failovers.drain(..failovers.len().saturating_sub(FAILOVERS_MAX));
    let records = records(&journals);
    let mut deeds: Vec<Deed> = journals
        .iter()
        .flat_map(|journal| journal.deeds(&records))
        .collect();
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
            failovers: &failovers,
            deeds: &deeds,
        }),
        Format::Text => ui.text(text(&views, &failovers, &deeds)),
    }
    Ok(Outcome::Done)
}

fn node(view: &View) -> Node<'_> {
    Node {
        node: &view.node,
        standing: &view.standing,
        is: wording::standing(&view.standing),
    }
}

fn text(views: &[View], failovers: &[Failover], deeds: &[Deed]) -> String {
    let mut text = String::new();
    for view in views {
        let name = paint(accent::STRONG, &view.node);
        text += &paragraph(&format!("{name} "), &wording::standing(&view.standing));
    }
    if let Some(loss) = views.iter().find_map(|view| view.lost.as_ref()) {
        text += &paragraph(&paint(accent::WARN, "! "), &wording::loss(loss));
    }
    let unheard = unheard(views);
    if !unheard.is_empty() {
        text += &paragraph(
            "",
            &format!("No word from the agents of {}.", unheard.join(", ")),
        );
    }
    text += &format!("\n{}\n", paint(accent::STRONG, "Why nothing more happens"));
    let (calm, in_the_way): (Vec<_>, Vec<_>) = blocked(views)
        .into_iter()
        .partition(|one| matches!(one.obstacle, Obstacle::LeaseHolds { .. }));
    if in_the_way.is_empty() {
        text += &paragraph("  ", &nothing_to_do(&calm));
    }
    for one in in_the_way {
        text += &paragraph(&format!("  {}: ", one.node), &one.because);
        if let Some(remedy) = one.remedy {
            text += &paragraph("    next: ", &paint(accent::TYPE, remedy));
        }
    }
    text += &format!("\n{}\n", paint(accent::STRONG, "Changes of the leader"));
    if failovers.is_empty() {
        text += "  none that is in the journals\n";
    }
    for one in failovers {
        text += &paragraph(&format!("  {} ", clock(one.began_at)), &changed(one));
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

/// What is so when nothing stands in the way of anything.
fn nothing_to_do(calm: &[Blocked<'_>]) -> String {
    let leases = calm.iter().find_map(|one| match one.obstacle {
        Obstacle::LeaseHolds { leader, holds_for } => Some((leader, *holds_for)),
        _ => None,
    });
    match leases {
        Some((leader, holds_for)) => format!(
            "Nothing is to be done: {leader} leads, and is heard of. {} after its last sign of life \
             the others would ask its server, and act if it is silent too.",
            duration(holds_for)
        ),
        None => "Nothing is to be done.".to_owned(),
    }
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

fn changed(one: &Failover) -> String {
    let who = match &one.leader {
        Some(leader) => leader.to_string(),
        None => "nobody".to_owned(),
    };
    let took = one.open_at.and_then(|open_at| {
        std::time::Duration::try_from(open_at.duration_since(one.began_at)).ok()
    });
    let took = match took {
        Some(took) => format!(" and took writes {} later", duration(took)),
        None => String::new(),
    };
    let chosen = one.chosen_because.as_ref();
    let chosen = chosen.map_or_else(String::new, |because| {
        format!(" It was chosen since {because}.")
    });
    format!(
        "epoch {}: {who} came to lead{took}. {} called the election, since {}.{chosen}",
        one.epoch, one.coordinator, one.because
    )
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn told(deed: &Deed) -> String {
    let took = deed.took_ms.map(std::time::Duration::from_millis);
    let how = match (deed.outcome, took) {
        (Ended::Done, Some(took)) => format!(" ({})", duration(took)),
        (Ended::Done | Ended::Open, _) => String::new(),
        (Ended::Refused, _) => " (refused)".to_owned(),
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
