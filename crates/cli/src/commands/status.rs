//! `manada status`: the herd as it is now.

mod text;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use manada_model::HerdStatus;
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::herd_args::{HerdArgs, Target, nobody_answered};
use crate::protected::{self, Protection};
use crate::ui::{Format, Ui};

/// The least time between two looks, in seconds.
const WATCH_SECONDS_MIN: f64 = 0.1;
/// The most.
const WATCH_SECONDS_MAX: f64 = 3600.0;

/// Show the herd as it is now: who is primary, who follows, how far behind, what would be lost.
///
/// Works with any PostgreSQL 15 to 18, whether Manada made it or not. Name any server of the herd:
/// the others are found from it. The role needs pg_monitor to see all; what it may not see is shown
/// as hidden. Servers that don't answer are shown as unreachable; only if none answers, the exit
/// code is 3.
///
/// LAG is WAL that the primary has and the standby has not yet written, flushed or replayed, and how
/// long the last of it took, as the primary measured it. AGE is how old an answer is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  manada status                          this host's herd
  manada status --watch                  again every two seconds
  manada status -d postgresql://monitor@10.0.0.1/postgres --format json")]
pub(crate) struct StatusArgs {
    /// Look again and again, every so many seconds, until interrupted (exit code 130).
    #[arg(
        long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = watch_seconds
    )]
    watch: Option<f64>,

    #[command(flatten)]
    herd: HerdArgs,
}

fn watch_seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (WATCH_SECONDS_MIN..=WATCH_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| {
            format!("a number of seconds from {WATCH_SECONDS_MIN} to {WATCH_SECONDS_MAX} is needed")
        })
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    #[serde(flatten)]
    status: &'a HerdStatus,
    protection: Option<protected::ProtectionReport<'a>>,
}

/// What the servers and the agents said.
struct Look {
    status: HerdStatus,
    protection: Option<Protection>,
}

impl Look {
    async fn at(target: &Target) -> Look {
        let protection = async {
            match &target.node {
                Some(node) => Protection::of(node).await,
                None => None,
            }
        };
        let (status, protection) = tokio::join!(target.survey.run(), protection);
        Look { status, protection }
    }
}

impl<'a> Report<'a> {
    fn of(look: &'a Look) -> Report<'a> {
        Report {
            format: "manada.status/1",
            status: &look.status,
            protection: look.protection.as_ref().map(Protection::report),
        }
    }
}

pub(crate) async fn run(args: &StatusArgs, ui: Ui) -> Result<Outcome, Failure> {
    let target = args.herd.target()?;
    match args.watch {
        None => once(&target, ui).await,
        Some(seconds) => watch(&target, ui, Duration::from_secs_f64(seconds)).await,
    }
}

async fn once(target: &Target, ui: Ui) -> Result<Outcome, Failure> {
    let look = Look::at(target).await;
    match ui.format() {
        Format::Json => ui.json(&Report::of(&look)),
        Format::Text if look.status.any_answered() => {
            ui.text(frame(target, &look));
        }
        Format::Text => {}
    }
    if look.status.any_answered() {
        Ok(Outcome::Done)
    } else {
        Err(nobody_answered(&look.status))
    }
}

/// Draws the status anew each time, on a screen of its own where there is a terminal; otherwise one
/// status follows the other, in JSON one on each line.
async fn watch(target: &Target, ui: Ui, pause: Duration) -> Result<Outcome, Failure> {
    let screen = ui.screen();
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = Look::at(target).await;
        match (ui.format(), &screen) {
            (Format::Json, _) => ui.json_line(&Report::of(&look)),
            (Format::Text, Some(screen)) => screen.draw(&frame(target, &look)),
            (Format::Text, None) => ui.text(frame(target, &look) + "\n"),
        }
    }
}

fn frame(target: &Target, look: &Look) -> String {
    let title = target.title(&look.status);
    let protection = look.protection.as_ref().map(Protection::text);
    text::render(&title, &look.status, protection, Timestamp::now())
}
