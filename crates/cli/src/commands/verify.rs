//! `manada verify`: proof that the herd replicates.

mod report;
mod text;

use std::time::Duration;

use clap::Args;
use manada_herd::verify::{VerifyError, VerifyOptions, verify};

use crate::error::{Failure, Outcome};
use crate::herd_args::{HerdArgs, nobody_answered};
use crate::ui::{Format, Ui};

/// Prove, with figures, that the herd replicates.
///
/// Follows writes from the primary to each standby: how long until one can be read there; on how many
/// disks it was when COMMIT returned, against what the policy demands; and whether the standby refuses
/// writes. The writes are messages in the WAL: no table is made, nothing is left behind.
///
/// With --digest, the contents of all user tables and sequences of all databases are compared at one
/// LSN, while writes go on; nothing is locked or paused. Exit code 1 if anything does not hold.
///
/// It needs pg_monitor, and for --digest pg_read_all_data or a superuser, on every server.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  manada verify
  manada verify --digest                 compare the data themselves, too
  manada verify --rounds 200 -d postgresql://postgres@10.0.0.1/postgres")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    herd: HerdArgs,

    /// How many writes are followed.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,

    /// Compare the contents of all user tables and sequences.
    #[arg(long)]
    digest: bool,

    /// How long one write may take to return, or to appear at a standby, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    within: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    const SECONDS_MAX: f64 = 3600.0;
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=SECONDS_MAX).contains(seconds))
        .ok_or_else(|| format!("a number of seconds from 0.1 to {SECONDS_MAX} is needed"))
}

pub(crate) async fn run(args: &VerifyArgs, ui: Ui) -> Result<Outcome, Failure> {
    let target = args.herd.target()?;
    let herd = target.survey.explore().await;
    if !herd.status.any_answered() {
        return Err(nobody_answered(&herd.status));
    }
    let options = VerifyOptions {
        rounds: args.rounds,
        digest: args.digest,
        limit: Duration::from_secs_f64(args.within),
    };
    let spinner = ui.spinner("following writes to the standbys");
    let verified = verify(&herd, &options).await;
    spinner.finish_and_clear();
    let verification = verified.map_err(not_verified)?;
    match ui.format() {
        Format::Json => ui.json(&report::Report::of(&verification)),
        Format::Text => ui.text(text::render(&verification)),
    }
    Ok(if verification.holds() {
        Outcome::Done
    } else {
        Outcome::FoundWrong
    })
}

fn not_verified(error: VerifyError) -> Failure {
    match &error {
        VerifyError::NotOnePrimary { primaries: 0 } => {
            Failure::unreachable("no primary answered").next("manada status")
        }
        VerifyError::NotOnePrimary { .. } => Failure::failed(error).next("manada status"),
        VerifyError::Connect(_) => {
            Failure::unreachable("the primary can't be reached").because(error)
        }
        VerifyError::Probe(_) | VerifyError::Databases { .. } => {
            Failure::failed("nothing could be proven").because(error)
        }
    }
}
