//! One file per command: arguments → plan → run.

mod completions;
mod man;

use crate::error::{Failure, Outcome};
use crate::ui::Ui;

/// What `manada` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    pub(crate) fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        match self {
            Command::Completions(args) => completions::run(&args, *ui),
            Command::Man(args) => man::run(&args, *ui),
        }
    }
}
