//! Benchmarks: `cargo xtask bench --help`.

mod agent;
mod clone;
mod core;
mod failover;
mod lab;
mod stall;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use lab::build;

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

pub(crate) fn run(bench: &Bench) -> ExitCode {
    match bench {
        Bench::Agent(arguments) => agent::run(arguments),
        Bench::Clone(arguments) => clone::run(arguments),
        Bench::Core => core::run(),
        Bench::Failover(arguments) => failover::run(arguments),
        Bench::Lab(arguments) => lab::run(arguments),
        Bench::Stall(arguments) => stall::run(arguments),
        Bench::Status(arguments) => status::run(arguments),
    }
}
