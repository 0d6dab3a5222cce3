//! The herd at the end of the practice, asked and drawn.

use std::time::Duration;

use manada_diagram::{Picture, forest};
use manada_herd::Survey;
use manada_model::NodeState;

use super::demonstrate::Herd;
use super::screen::Screen;
use super::server::until;
use super::step::{StepId, Used};
use super::texts::Texts;
use crate::commands::diagram::terminal;
use crate::error::Failure;

/// How long one server may take to say how it is.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks every server how it is, and draws the herd.
pub(crate) async fn show(
    herd: &Herd,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<(), Failure> {
    let running = screen.begin(StepId::Diagram);
    // Every standby has answered for the last segment by then; until it has, it seems behind.
    let caught_up = "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_replication \
                     WHERE replay_lsn IS DISTINCT FROM pg_current_wal_flush_lsn())";
    if until(async || herd.look(caught_up).await).await?.is_none() {
        return Err(herd
            .primary
            .failure("has a standby that does not catch up", "see manada status"));
    }
    let primary = &herd.primary.node;
    let survey = Survey::of(primary.monitor(primary.endpoint()), ANSWER_MAX);
    let status = survey.run().await;
    for node in &status.nodes {
        if let NodeState::Unreachable { reason, .. } = &node.state {
            return Err(herd
                .primary
                .failure("has a standby that does not answer", reason));
        }
    }
    let picture = Picture {
        title: String::new(),
        taken_at: None,
        roots: forest(&status),
        policy: None,
        risk: None,
    };
    let drawing = terminal(&picture);
    screen.done(
        running,
        texts.drawn(),
        vec![Used::command("manada diagram")],
    );
    screen.say(format!("\n{}\n", drawing.trim_matches('\n')));
    Ok(())
}
