//! One file per command: arguments → plan → run.

mod completions;
mod diagram;
mod init;
mod join;
mod man;
mod node_admit;
mod status;
mod sync;
mod token;
mod uri;

use crate::error::{Failure, Outcome};
use crate::ui::Ui;

/// What `manada` can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Init(init::InitArgs),
    Join(join::JoinArgs),
    Token(token::TokenArgs),
    #[command(hide = true)]
    Node(node_admit::NodeArgs),
    Status(status::StatusArgs),
    Sync(sync::SyncArgs),
    Diagram(diagram::DiagramArgs),
    Uri(uri::UriArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    pub(crate) fn run(self, ui: &Ui) -> Result<Outcome, Failure> {
        match self {
            Command::Init(args) => init::run(args, *ui),
            Command::Join(args) => join::run(args, *ui),
            Command::Token(args) => token::run(&args, *ui),
            Command::Node(args) => node_admit::run(&args),
            Command::Sync(args) => crate::block_on(sync::run(&args, *ui)),
            Command::Status(args) => crate::block_on(status::run(&args, *ui)),
            Command::Diagram(args) => crate::block_on(diagram::run(&args, *ui)),
            Command::Uri(args) => crate::block_on(uri::run(&args, *ui)),
            Command::Completions(args) => completions::run(&args, *ui),
            Command::Man(args) => man::run(&args, *ui),
        }
    }
}
