//! `manada node admit`: what the primary's server runs when a newcomer asks.

use std::path::PathBuf;

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
    Admit {
        /// The node's directory.
        #[arg(long, value_name = "DIR")]
        home: PathBuf,
    },
}

pub(crate) fn run(args: &NodeArgs) -> Result<Outcome, Failure> {
    let NodeCommand::Admit { home } = &args.command;
    let node = Home::at(home)
        .map_err(Failure::failed)
        .and_then(|home| Node::open(home).map_err(Failure::failed))?;
    admit(&node, std::io::stdin().lock()).map_err(Failure::failed)?;
    Ok(Outcome::Done)
}
