//! Benchmarks: `cargo xtask bench --help`.

mod agent;
mod client;
mod clone;
mod core;
mod failover;
mod lab;
mod processor;
mod stall;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// What the agents of a herd at rest cost, and its store.
    Agent(agent::Arguments),
    /// The native clone beside pg_basebackup: same data, same disk, in turns.
    Clone(clone::Arguments),
    /// One decision in a herd of a thousand.
    Core,
    /// The time without writes when a primary is lost, beside Patroni where that is asked for.
    Failover(failover::Arguments),
    /// `manada lab` beside a bare shell script of the practice, in turns.
    Lab(lab::Arguments),
    /// Whether a stall of 1.5 s of the primary's disk, network or processor causes a failover.
    Stall(stall::Arguments),
    /// `manada status` of a primary and three standbys.
    Status(status::Arguments),
}

/// Measures, and prints what came of it.
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what a benchmark is for"
)]
pub(crate) fn run(bench: &Bench) -> ExitCode {
    let report = match bench {
        Bench::Agent(arguments) => arguments.measure(),
        Bench::Clone(arguments) => arguments.measure(),
        Bench::Core => core::measure(),
        Bench::Failover(arguments) => arguments.measure(),
        Bench::Lab(arguments) => arguments.measure(),
        Bench::Stall(arguments) => arguments.measure(),
        Bench::Status(arguments) => arguments.measure(),
    };
    match report {
        Ok(report) => {
            println!("{}", report.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The one in the middle, or what is between the two; not a number of none.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(one), 1) => *one,
        (Some(upper), _) => (sorted[middle - 1] + upper) / 2.0,
        (None, _) => f64::NAN,
    }
}
