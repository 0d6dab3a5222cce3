//! `cargo xtask model`: every state of a small herd, within bounds that can be wider than CI's.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use manada_sim::model::{Bounds, HerdModel, Report};

/// Look at every state that a small herd can come to.
#[derive(Args)]
pub(crate) struct Model {
    /// How many servers.
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// How many witnesses.
    #[arg(long, default_value_t = 0)]
    witnesses: u16,
    /// How many standbys a commit waits for.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// The highest epoch.
    #[arg(long, default_value_t = 2)]
    epochs: u64,
    /// The highest revision of the record.
    #[arg(long, default_value_t = 5)]
    revisions: u64,
    /// Timers that fire.
    #[arg(long, default_value_t = 5)]
    timers: u8,
    /// Clients' writes.
    #[arg(long, default_value_t = 1)]
    writes: u8,
    /// Cancelled waits.
    #[arg(long, default_value_t = 0)]
    cancels: u8,
    /// Hosts or servers that die.
    #[arg(long, default_value_t = 1)]
    crashes: u8,
    /// Agents that die alone.
    #[arg(long, default_value_t = 0)]
    agent_restarts: u8,
    /// Orders about a server that fail.
    #[arg(long, default_value_t = 0)]
    failures: u8,
    /// Requests to the store of unknown outcome.
    #[arg(long, default_value_t = 0)]
    store_faults: u8,
    /// Stale reads.
    #[arg(long, default_value_t = 0)]
    stale_reads: u8,
    /// Agents look at their servers any time later, not at once.
    #[arg(long)]
    late_looks: bool,
    /// Agents carry out orders at once, not any time later.
    #[arg(long)]
    prompt_orders: bool,
    /// Standbys are found to be away or to have come back.
    #[arg(long)]
    policy_changes: bool,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Walk at random with this seed instead of visiting every state.
    #[arg(long)]
    walk: Option<u64>,
}

impl Model {
    fn bounds(&self) -> Bounds {
        Bounds {
            count: self.count,
            epochs: self.epochs,
            revisions: self.revisions,
            timers: self.timers,
            writes: self.writes,
            cancels: self.cancels,
            crashes: self.crashes,
            agent_restarts: self.agent_restarts,
            failures: self.failures,
            store_faults: self.store_faults,
            stale_reads: self.stale_reads,
            prompt_looks: !self.late_looks,
            prompt_orders: self.prompt_orders,
            policy_changes: self.policy_changes,
            ..Bounds::smallest()
        }
    }
}

/// Runs it, and prints what was counted and found.
#[allow(clippy::print_stdout, reason = "it is a command")]
pub(crate) fn run(model: &Model) -> ExitCode {
    let herd = HerdModel::new(model.nodes, model.witnesses, model.bounds());
    let within = Duration::from_secs(model.seconds);
    let report = match model.walk {
        None => Report::exhaustive(herd, within),
        Some(seed) => Report::walk(herd, seed, within),
    };
    println!("{report}");
    if report.broken().next().is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
