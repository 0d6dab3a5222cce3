//! `manada stop`: this node's server.

use manada_herd::power::stop_node;
use manada_postgres::process::{STOPPED_WITHIN, StopError, StopMode, Stopped};

use super::token::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::ui::{Format, Ui, accent, paint};

/// Stop this node's server in good order.
///
/// Clients are sent away and a checkpoint is written. A primary waits for the standbys that are
/// connected to have received all that it sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada stop
  manada stop --mode immediate")]
pub(crate) struct StopArgs {
    #[command(flatten)]
    which: LocalNodeArgs,

    /// How: as PostgreSQL's own three ways.
    #[arg(long, value_enum, default_value_t = Mode::Fast)]
    mode: Mode,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mode {
    /// When all clients have gone.
    Smart,
    /// Clients are sent away.
    Fast,
    /// At once, without a checkpoint: the next start recovers.
    Immediate,
}

pub(crate) fn run(args: &StopArgs, ui: Ui) -> Result<Outcome, Failure> {
    let node = args.which.find()?;
    let name = &node.file.name;
    let mode = match args.mode {
        Mode::Smart => StopMode::Smart,
        Mode::Fast => StopMode::Fast,
        Mode::Immediate => StopMode::Immediate,
    };
    let stopped = stop_node(&node, mode, STOPPED_WITHIN).map_err(|error| {
        let failure = Failure::failed(format!("{name} was not stopped")).because(&error);
        match &error {
            StopError::StillRunning { .. } => failure.next("manada stop --mode immediate"),
            StopError::Running(_) | StopError::Signal { .. } => failure,
        }
    })?;
    match ui.format() {
        Format::Json => ui.json(&serde_json::json!({
            "format": "manada.stop/1",
            "node": name,
            "was_running": matches!(stopped, Stopped::After(_)),
        })),
        Format::Text => ui.text(match stopped {
            Stopped::WasNotRunning => format!("{} was not running", paint(accent::STRONG, name)),
            Stopped::After(time) => format!(
                "{} stopped after {} ms",
                paint(accent::STRONG, name),
                time.as_millis()
            ),
        }),
    }
    Ok(Outcome::Done)
}
