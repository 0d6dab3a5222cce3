//! `cargo xtask model`: every order of events in small herds, within bounds wider than CI's.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use manada_core::guards::Guard;
use manada_sim::model::{Case, Report, Size};

/// Look at every state that a small herd can come to.
#[derive(Args)]
pub(crate) struct Model {
    /// Only this case (docs/design/model.md has their names).
    #[arg(long)]
    case: Option<String>,
    /// Only herds of so many servers.
    #[arg(long)]
    nodes: Option<u16>,
    /// Only herds with so many witnesses.
    #[arg(long)]
    witnesses: Option<u16>,
    /// Within CI's bounds.
    #[arg(long)]
    small: bool,
    /// Give each case up after so many seconds.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Walk at random with this seed instead of visiting every state.
    #[arg(long)]
    walk: Option<u64>,
    /// Leave a guard of the core out, and see what harm comes of it.
    #[arg(long, value_parser = guard)]
    without: Option<Guard>,
}

fn guard(name: &str) -> Result<Guard, String> {
    let mut guards = Guard::ALL.into_iter();
    guards
        .find(|guard| format!("{guard:?}") == name)
        .ok_or_else(|| format!("no guard is called {name}: see docs/design/guards.md"))
}

impl Model {
    fn cases(&self) -> Vec<Case> {
        let size = if self.small { Size::Small } else { Size::Large };
        let mut cases = Case::all(size);
        cases.retain(|case| {
            self.case.as_deref().is_none_or(|name| name == case.name)
                && self.nodes.is_none_or(|nodes| nodes == case.shape.servers)
                && self
                    .witnesses
                    .is_none_or(|witnesses| witnesses == case.shape.witnesses)
        });
        cases
    }

    fn search(&self, case: &Case) -> Report {
        let mut model = case.model();
        if let Some(guard) = self.without {
            model = model.without(guard).judging_harm();
        }
        let within = Duration::from_secs(self.seconds);
        match self.walk {
            None => Report::exhaustive(model, within),
            Some(seed) => Report::walk(model, seed, within),
        }
    }
}

/// Runs the cases, and prints what was counted and found.
#[allow(clippy::print_stdout, reason = "it is a command")]
pub(crate) fn run(model: &Model) -> ExitCode {
    let cases = model.cases();
    let mut passed = !cases.is_empty();
    for case in cases {
        let report = model.search(&case);
        println!("{case}: {report}");
        let ended = report.complete || model.walk.is_some();
        passed &= ended && report.broken().next().is_none();
    }
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
