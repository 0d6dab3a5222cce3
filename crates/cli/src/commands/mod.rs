//! One file per command: arguments → plan → run.

mod completions;
mod diagram;
mod man;
mod uri;

use crate::error::{Failure, Outcome};
use crate::ui::Ui;

/// What `manada` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Diagram(diagram::DiagramArgs),
    Uri(uri::UriArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    pub(crate) fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        match self {
            Command::Diagram(args) => crate::block_on(diagram::run(&args, *ui)),
            Command::Uri(args) => crate::block_on(uri::run(&args, *ui)),
            Command::Completions(args) => completions::run(&args, *ui),
            Command::Man(args) => man::run(&args, *ui),
        }
    }
}
