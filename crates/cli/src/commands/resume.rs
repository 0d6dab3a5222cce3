//! `manada resume`: the herd acts by itself again.

use manada_core::record::Mode;

use super::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::protected::set_mode;
use crate::ui::Ui;

/// Let a protected herd act by itself again, after `manada pause`.
///
/// A node whose data could not be brought back gets new tries, also where the herd was not paused.
/// On any host of the herd.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada resume")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    which: LocalNodeArgs,
}

pub(crate) async fn run(args: &ResumeArgs, ui: Ui) -> Result<Outcome, Failure> {
    set_mode(&args.which, Mode::Automatic, ui).await
}
