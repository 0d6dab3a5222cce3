//! `manada failover`: another node becomes the primary, although the present one may live.

use std::collections::BTreeSet;

use manada_agent::control::View;
use manada_core::input::Command;
use manada_core::loss::LossBound;
use manada_core::policy::Published;
use manada_core::record::Record;
use manada_core::server::ServerFacts;
use manada_model::NodeName;
use manada_model::wording::{duration, size};
use serde_json::json;

use super::LocalNodeArgs;
use super::switchover::{millis, outcome, prospect, stall};
use crate::error::{Failure, Outcome};
use crate::protected::{Agent, Course, NewLeader, Patience, record};
use crate::ui::{Answer, Format, Ui, accent, paint};

/// Elect a new primary now, although the present one may live.
///
/// For a primary that is ill in a way that the herd does not see. The epoch is raised, so that the
/// former primary can acknowledge nothing more, and the standby with the most WAL takes over. Where
/// commits wait for standbys, none that was acknowledged is lost: the election waits until enough
/// nodes have answered. It asks before it acts; without a terminal it needs --yes. For a primary
/// that is well, `manada switchover` is gentler.
///
/// Where commits wait for nobody, or too few nodes are left to know every commit that was
/// acknowledged, those that none of them has are lost. How many bytes of WAL that may be is said
/// before, as far as it is known, and it goes on only within --allow-data-loss.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada failover
  manada failover --to beto --yes
  manada failover --dry-run              only say what is at risk
  manada failover --allow-data-loss      lose at most what was said to be at risk
  manada failover --allow-data-loss=16MB
  manada failover --allow-data-loss=any  lose whatever it is, also where nobody knows how much")]
pub(crate) struct FailoverArgs {
    /// Who shall lead, if its WAL is as far as any other's.
    #[arg(long, value_name = "NODE")]
    to: Option<NodeName>,

    /// Lose commits that were acknowledged, up to so much WAL, or `any` [without BYTES: what is
    /// said to be at risk].
    #[arg(
        long, value_name = "BYTES", num_args = 0..=1, require_equals = true, value_parser = loss
    )]
    allow_data_loss: Option<Option<LossBound>>,

    #[command(flatten)]
    which: LocalNodeArgs,

    /// Don't ask.
    #[arg(long, short)]
    yes: bool,

    /// Say what is at risk, and stop there.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    patience: Patience,
}

/// A number of bytes, or `any`.
fn loss(text: &str) -> Result<LossBound, String> {
    match text {
        "any" => Ok(LossBound::Any),
        _ => bytes(text).map(LossBound::Bytes),
    }
}

/// A number of bytes, with one of PostgreSQL's units behind it or none.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: Option<u64> = match &text[digits.len()..] {
        "" | "B" => Some(1),
        "kB" => Some(1 << 10),
        "MB" => Some(1 << 20),
        "GB" => Some(1 << 30),
        "TB" => Some(1 << 40),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| {
            "a number of bytes is needed, such as 65536, 64kB or 16MB, or: any".to_owned()
        })
}

/// What acknowledged commits a failover may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Risk {
    /// None: it waits until enough nodes have answered to know them all.
    None,
    /// As many as are in so much WAL, unless the former primary answers.
    AtMost {
        /// The leader's last word against the furthest of those that answer.
        bytes: u64,
    },
    /// The leader has left no word, or nobody answers.
    Unknown,
}

pub(crate) async fn run(args: &FailoverArgs, ui: Ui) -> Result<Outcome, Failure> {
    let (agent, view) = Agent::find(&args.which).await?;
    let before = record(&view)?.value.clone();
    let views = agent.views(view).await;
    let risk = risk(&before, &views);
    if ui.format() == Format::Text {
        ui.note(announcement(&before, args.to.as_ref(), risk));
    }
    if args.dry_run {
        report(ui, &before, risk, None);
        return Ok(Outcome::Done);
    }
    let allow_loss = bound(args.allow_data_loss, risk)?;
    confirm(args.yes, ui)?;
    let course = Course::begin(&agent, &before).await;
    let command = Command::Failover {
        to: args.to.clone(),
        allow_loss,
    };
    agent.give(&command).await?;
    let limit = args.patience.limit();
    let leader = course.until_it_leads(limit).await.map_err(|stalled| {
        let waited = duration(limit).replace('\u{A0}', " ");
        let becomes = prospect(&stalled.views, limit);
        stall(
            format!("nobody leads anew after {waited}"),
            &stalled,
            becomes,
        )
    })?;
    report(ui, &before, risk, Some(&leader));
    Ok(Outcome::Done)
}

/// What may be lost. Without a number it is what the operator was told.
fn bound(allowed: Option<Option<LossBound>>, risk: Risk) -> Result<Option<LossBound>, Failure> {
    let unknown = || {
        Failure::usage("nothing was changed")
            .because("how much is at risk is not known, so that no number of bytes is a bound")
            .next("whatever is lost: manada failover --allow-data-loss=any")
    };
    match (allowed, risk) {
        (None, _) => Ok(None),
        (Some(Some(LossBound::Any)), _) => Ok(Some(LossBound::Any)),
        (Some(_), Risk::Unknown) => Err(unknown()),
        (Some(Some(bound @ LossBound::Bytes(_))), Risk::None | Risk::AtMost { .. }) => {
            Ok(Some(bound))
        }
        (Some(None), Risk::AtMost { bytes }) => Ok(Some(LossBound::Bytes(bytes))),
        (Some(None), Risk::None) => Ok(Some(LossBound::Bytes(0))),
    }
}

fn confirm(yes: bool, ui: Ui) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match ui.ask("Elect a new primary?") {
        Answer::Yes => Ok(()),
        Answer::No => Err(Failure::interrupted().because("nothing was changed")),
        Answer::Nobody => Err(Failure::usage("nobody was asked, and nothing was changed")
            .because("this is no terminal")
            .next("say that it is meant: --yes")),
    }
}

/// What is at risk with the nodes whose agents answer. A leader that commits wait for nobody on may
/// be gone a moment later, with all that only it has.
fn risk(record: &Record, views: &[View]) -> Risk {
    let answering: BTreeSet<NodeName> = views.iter().map(|view| view.node.clone()).collect();
    let at_risk = |published: &&Published| {
        !published.policy.is_synchronous() || !published.is_covered_by(&answering)
    };
    let Some(published) = record.policies.iter().find(at_risk) else {
        return Risk::None;
    };
    let leader = &published.leader;
    let words = views.iter().filter_map(|view| view.lease.as_ref());
    let said = words
        .filter(|age| age.lease.leader == *leader && age.lease.flush_lsn.is_valid())
        .map(|age| age.lease.flush_lsn)
        .max();
    let others = views.iter().filter(|view| view.node != *leader);
    let reached = others
        .filter_map(|view| match &view.server {
            Some(ServerFacts::Standby(standby)) => Some(standby.position.flush_lsn),
            Some(
                ServerFacts::Stopped { .. }
                | ServerFacts::Starting
                | ServerFacts::Unresponsive
                | ServerFacts::Unusable
                | ServerFacts::Primary(_),
            )
            | None => None,
        })
        .max();
    match (said, reached) {
        (Some(said), Some(reached)) => Risk::AtMost {
            bytes: said.0.saturating_sub(reached.0),
        },
        _ => Risk::Unknown,
    }
}

fn announcement(record: &Record, to: Option<&NodeName>, risk: Risk) -> String {
    let leader = record.leader.as_ref().map_or_else(
        || "Nobody leads".to_owned(),
        |leader| format!("{} leads", paint(accent::STRONG, leader)),
    );
    let to = match to {
        Some(to) => format!("{to}, if it has as much WAL as any other"),
        None => "the standby with the most WAL".to_owned(),
    };
    format!(
        "{leader} epoch {}. To take over: {to}. {}",
        record.epoch,
        danger(risk)
    )
    .replace('\u{A0}', " ")
}

fn danger(risk: Risk) -> String {
    match risk {
        Risk::None => "No acknowledged commit is at risk.".to_owned(),
        Risk::AtMost { bytes } => format!(
            "Acknowledged commits may be lost: {} of WAL are at risk, as of the primary's last \
             word, and what it has written since.",
            size(bytes)
        ),
        Risk::Unknown => {
            "Acknowledged commits may be lost, and how much WAL is at risk is not known.".to_owned()
        }
    }
}

fn report(ui: Ui, before: &Record, risk: Risk, leader: Option<&NewLeader>) {
    match ui.format() {
        Format::Json => ui.json(&json!({
            "format": "manada.failover/1",
            "from": before.leader,
            "to": leader.map(|leader| &leader.name),
            "done": leader.is_some(),
            "at_risk_bytes": match risk {
                Risk::None => Some(0),
                Risk::AtMost { bytes } => Some(bytes),
                Risk::Unknown => None,
            },
            "epoch": leader.map(|leader| leader.epoch),
            "took_ms": leader.map(|leader| millis(leader.took)),
        })),
        Format::Text => ui.text(match leader {
            None => "Nothing was changed.".to_owned(),
            Some(leader) => outcome(leader),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_with_one_of_postgresqls_units() {
        for (text, read) in [
            ("0", Some(0)),
            ("65536", Some(65_536)),
            ("64kB", Some(65_536)),
            ("16MB", Some(16 << 20)),
            ("16mb", None),
            ("MB", None),
            ("", None),
            ("-1", None),
            ("99999999TB", None),
        ] {
            assert_eq!(bytes(text).ok(), read, "{text:?}");
        }
    }

    #[test]
    fn data_is_lost_only_where_somebody_says_how_much() {
        let told = Risk::AtMost { bytes: 7 };
        let at_most = |bytes| Some(Some(LossBound::Bytes(bytes)));
        assert_eq!(bound(None, told).ok(), Some(None));
        assert_eq!(bound(Some(None), told).ok(), at_most(7));
        assert_eq!(bound(at_most(9), told).ok(), at_most(9));
        assert_eq!(bound(Some(None), Risk::None).ok(), at_most(0));
        assert!(bound(Some(None), Risk::Unknown).is_err());
        assert!(bound(at_most(9), Risk::Unknown).is_err());
        let any = loss("any").ok();
        assert_eq!(bound(Some(any), Risk::Unknown).ok(), Some(any));
    }
}
