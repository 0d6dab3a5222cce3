//! One file per command: arguments → plan → run.

use crate::error::{Failure, Outcome};
use crate::ui::Ui;

/// What `manada` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {}

impl Command {
    pub(crate) fn run(self, _ui: &Ui) -> Result<Outcome, Failure> {
        match self {}
    }
}
