//! `cargo xtask bench stall`: whether a short stall of the primary's host causes a failover.
//!
//! The herd of `bench failover`, with a disk for each host. The primary's disk, network or
//! processor stands still for a moment, while a client writes. A failover would be seen by another
//! primary, or by another timeline of the same one.

#![allow(clippy::print_stderr, reason = "it says how far it is")]

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use manada_testbed::checker::History;
use manada_testbed::faults::Partition;
use manada_testbed::{HerdNode, Programs, ProtectedHerd, Shape};

use super::client;
use crate::program::Program;

/// How long a stall takes: no reason for a failover.
const STALL: Duration = Duration::from_millis(1500);

/// How long a failover might still begin afterwards: longer than a lease.
const AFTERMATH: Duration = Duration::from_millis(2500);

/// What `cargo xtask bench stall` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How often each stall happens.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rounds: u16,

    #[command(flatten)]
    program: Program,
}

/// What stands still.
#[derive(Clone, Copy)]
enum Part {
    Disk,
    Network,
    Processor,
}

/// What came of a stall.
struct Outcome {
    /// The longest time between two acknowledged writes.
    away: Duration,
    failed_over: bool,
}

impl Arguments {
    pub(super) fn measure(&self) -> Result<String, String> {
        let programs = Programs::any().map_err(|error| error.to_string())?;
        let manada = self.program.path()?;
        let herd = ProtectedHerd::start_to_fail(&manada, &programs, Shape::Blocking)
            .map_err(|error| error.to_string())?;
        herd.prepare_for_clients();
        let mut report = "| stall of 1.5 s | times | failovers | writes away, p50 | max |\n\
             | --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        for part in [Part::Disk, Part::Network, Part::Processor] {
            let mut outcomes = Vec::new();
            for round in 1..=self.rounds {
                let outcome = suffer(&herd, part)?;
                eprintln!(
                    "{}, round {round}: writes away {:.3} s{}",
                    part.text(),
                    outcome.away.as_secs_f64(),
                    if outcome.failed_over {
                        ", a failover"
                    } else {
                        ""
                    }
                );
                outcomes.push(outcome);
            }
            report.push_str(&row(part, &mut outcomes));
        }
        Ok(report)
    }
}

impl Part {
    fn text(self) -> &'static str {
        match self {
            Part::Disk => "disk",
            Part::Network => "network",
            Part::Processor => "processor",
        }
    }

    fn stall(self, node: &HerdNode) {
        match self {
            Part::Disk => {
                let disk = node.disk().expect("a herd that is to fail");
                disk.stall();
                sleep(STALL);
                disk.go_on();
            }
            Part::Network => {
                let partition = Partition::isolating(node.host());
                sleep(STALL);
                partition.heal();
            }
            Part::Processor => {
                node.host().pause();
                sleep(STALL);
                node.host().resume();
            }
        }
    }
}

fn suffer(herd: &ProtectedHerd, part: Part) -> Result<Outcome, String> {
    let whole = || {
        let whole = herd.become_whole(client::AWAY_MAX);
        whole.map_err(|why| format!("the herd is not whole: {why}\n{}", herd.last_words()))
    };
    whole()?;
    let primary = herd.primary();
    let before = (primary.name(), timeline(primary)?);
    let (workload, recorder) = client::begin(herd)?;
    part.stall(primary);
    sleep(AFTERMATH);
    client::wrote_since(&recorder, recorder.now())?;
    workload.stop();
    whole()?;
    let primary = herd.primary();
    Ok(Outcome {
        away: longest_pause(&recorder.history()),
        failed_over: (primary.name(), timeline(primary)?) != before,
    })
}

/// The timeline that the primary writes.
fn timeline(primary: &HerdNode) -> Result<String, String> {
    primary.try_sql("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
}

fn longest_pause(history: &History) -> Duration {
    let mut ends: Vec<Duration> = history.acknowledged().map(|write| write.ended).collect();
    ends.sort_unstable();
    let pauses = ends.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.max().unwrap_or_default()
}

fn row(part: Part, outcomes: &mut [Outcome]) -> String {
    outcomes.sort_by_key(|outcome| outcome.away);
    let failovers = outcomes.iter().filter(|outcome| outcome.failed_over);
    let mut row = String::new();
    let _ = writeln!(
        row,
        "| {} | {} | {} | {:.2} s | {:.2} s |",
        part.text(),
        outcomes.len(),
        failovers.count(),
        outcomes[outcomes.len() / 2].away.as_secs_f64(),
        outcomes[outcomes.len() - 1].away.as_secs_f64()
    );
    row
}
