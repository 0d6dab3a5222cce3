//! The switch to synchronous replication: without a restart, and in force when it is said to be.

use std::num::NonZeroU32;
use std::time::Duration;

use manada_herd::Survey;
use manada_herd::policy::{Enforcement, PolicyRequest, apply, plan};
use manada_model::{StandbyName, SyncMethod};
use manada_postgres::Session;

use super::demonstrate::Herd;
use super::screen::Screen;
use super::step::{StepId, Used};
use super::texts::Texts;
use crate::error::Failure;

/// How long one server may take to say how it is.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long the policy may take to be in force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(20);

/// `FIRST 1` of all standbys, the practice's policy, put in force and read back.
pub(crate) async fn switch(
    herd: &Herd,
    admin: &Session,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<(), Failure> {
    let running = screen.begin(StepId::Synchronous);
    let primary = &herd.primary;
    let failed =
        |error: &dyn std::fmt::Display| primary.failure("did not become synchronous", error);
    let survey = Survey {
        remembered: Vec::new(),
        seeds: primary.node.superuser(),
        peer: Some(primary.node.peer().map_err(|error| failed(&error))?),
        others: primary.node.monitor(primary.node.endpoint()),
        limit: ANSWER_MAX,
    };
    let explored = survey.explore().await;
    let found = explored.status.primary();
    let way = found.and_then(|node| explored.way_to(node));
    let way = way.ok_or_else(|| failed(&"no primary answers"))?;
    let request = PolicyRequest::Wait {
        method: SyncMethod::First,
        count: NonZeroU32::MIN,
        names: herd
            .standbys
            .iter()
            .map(|standby| StandbyName::new(standby.name().as_str()))
            .collect(),
    };
    let plan = plan(&explored, admin, &request)
        .await
        .map_err(|error| failed(&error))?;
    let enforcement = apply(&plan, admin, way, IN_FORCE_WITHIN)
        .await
        .map_err(|error| failed(&error))?
        .map_err(|open| failed(&format!("it is not shown to be in force: {open:?}")))?;
    match enforcement {
        Enforcement::Acknowledged { .. } => {}
        Enforcement::Asynchronous | Enforcement::Waiting { .. } => {
            return Err(failed(&format!(
                "commits behave otherwise: {enforcement:?}"
            )));
        }
    }

    let read = "SELECT sync_state FROM pg_stat_replication;";
    let first = herd.standbys[0].name();
    let query = format!(
        "SELECT sync_state || ' ' || current_setting('synchronous_commit') || ' ' || \
         current_setting('synchronous_standby_names') \
         FROM pg_stat_replication WHERE application_name = '{first}'"
    );
    let said = herd.look(&query).await?.unwrap_or_default();
    let mut words = said.splitn(3, ' ');
    let (state, commit, names) = (words.next(), words.next(), words.next());
    let (Some("sync"), Some(commit), Some(names)) = (state, commit, names) else {
        return Err(failed(&format!("pg_stat_replication says {said:?}")));
    };
    let used = vec![
        Used::line("postgresql.conf", format!("synchronous_commit = {commit}")),
        Used::line(
            "postgresql.conf",
            format!("synchronous_standby_names = '{names}'"),
        ),
        Used::sql(primary.name(), "SELECT pg_reload_conf();"),
        Used::sql(primary.name(), read).gives("sync"),
    ];
    screen.done(running, texts.synchronous(), used);
    Ok(())
}
