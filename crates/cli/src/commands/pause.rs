//! `manada pause`: the herd acts only when it is told to.

use manada_core::record::Mode;

use super::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::protected::set_mode;
use crate::ui::Ui;

/// Have a protected herd act only when it is told to.
///
/// For maintenance: no failover, no rejoin and no change of what commits wait for happens by itself,
/// on any node, until `manada resume`. Writes go on as they are; a switchover or a failover that is
/// typed is carried out. On any host of the herd.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada pause
  manada pause --herd main")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    which: LocalNodeArgs,
}

pub(crate) async fn run(args: &PauseArgs, ui: Ui) -> Result<Outcome, Failure> {
    set_mode(&args.which, Mode::Paused, ui).await
}
