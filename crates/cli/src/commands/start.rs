//! `manada start`: this node's server.

use manada_herd::power::{StartNodeError, StartedNode, start_node};
use manada_model::{StartFailure, StartTrouble};
use manada_postgres::process::StartError;

use super::token::LocalNodeArgs;
use crate::error::{Failure, Outcome};
use crate::ui::{Format, Ui, accent, paint};

/// Start this node's server, and wait until it takes connections.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada start
  manada start --herd main --node n2")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    which: LocalNodeArgs,
}

pub(crate) fn run(args: &StartArgs, ui: Ui) -> Result<Outcome, Failure> {
    let node = args.which.find()?;
    let name = &node.file.name;
    let started = start_node(&node).map_err(|error| {
        let failure = Failure::failed(format!("{name} was not started")).because(&error);
        match &error {
            StartNodeError::Start(StartError::Ended {
                trouble:
                    StartTrouble {
                        failure: StartFailure::PortTaken,
                        ..
                    },
                ..
            }) => failure.next(format!("see what listens on port {}", node.file.port)),
            StartNodeError::Programs(_) => failure.next(format!(
                "its programs were in {}: install them there again",
                node.file.bin_dir.display()
            )),
            StartNodeError::User(_)
            | StartNodeError::Cache(_)
            | StartNodeError::Start(_)
            | StartNodeError::Running(_)
            | StartNodeError::RunClusterTools { .. }
            | StartNodeError::ClusterTools { .. } => {
                failure.next(format!("its log: {}", node.home.log_file().display()))
            }
        }
    })?;
    let (what, server) = match &started {
        StartedNode::RanAlready(server) => ("runs already", server),
        StartedNode::Started(server) => ("runs", server),
    };
    match ui.format() {
        Format::Json => ui.json(&serde_json::json!({
            "format": "manada.start/1",
            "node": name,
            "ran_already": matches!(started, StartedNode::RanAlready(_)),
            "pid": server.pid,
            "port": server.port,
        })),
        Format::Text => ui.text(format!(
            "{} {what} at {} (process {})",
            paint(accent::STRONG, name),
            node.endpoint(),
            server.pid
        )),
    }
    Ok(Outcome::Done)
}
