//! `manada node`: what servers and agents run for themselves.

use std::path::PathBuf;

use manada_agent::deadman::guard;
use manada_herd::remove::answer_leave;
use manada_herd::{Home, Node, admit};

use crate::error::{Failure, Outcome};

/// For the server's own use.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NodeCommand {
    /// Deal with the admission that comes on standard input; `manada.admit()` in the database runs
    /// this.
    Admit(AtHome),
    /// Deal with the farewell that comes on standard input; `manada.leave()` in the database runs
    /// this.
    Leave(AtHome),
    /// Kill the server when its agent sets no later deadline; the agent runs this.
    Deadman(AtHome),
}

#[derive(Debug, clap::Args)]
struct AtHome {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
}

pub(crate) fn run(args: &NodeArgs) -> Result<Outcome, Failure> {
    let stdin = std::io::stdin().lock();
    match &args.command {
        NodeCommand::Admit(at) => admit(&open(at)?, stdin).map_err(Failure::failed)?,
        NodeCommand::Leave(at) => answer_leave(&open(at)?, stdin).map_err(Failure::failed)?,
        NodeCommand::Deadman(at) => guard(&open(at)?).map_err(Failure::failed)?,
    }
    Ok(Outcome::Done)
}

fn open(at: &AtHome) -> Result<Node, Failure> {
    let home = Home::at(&at.home).map_err(Failure::failed)?;
    Node::open(home).map_err(Failure::failed)
}
