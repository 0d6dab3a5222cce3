//! The limits that a standby needs to replay its primary's WAL.
//!
//! Somebody raises `max_connections` on the primary: on a standby that has less, replay pauses when
//! it comes to that, and can't be resumed; when the standby starts again, it gives up. What replay
//! came to stands in `pg_control`, so that the agent can give a standby what it needs.

use manada_herd::protection::{STANDBY_LIMITS, limit_as_on_the_primary, limits_needed};
use manada_postgres::Session;
use manada_postgres::control_file::ControlFile;
use manada_postgres::process::{StopMode, configured};

use super::Shared;
use super::configure::Change;
use super::error::OrderError;

/// A limit's name and what it must be at least.
type Limit = (&'static str, i32);

impl Shared {
    /// Raises what the server, which does not run, would have too little of. A server that can't be
    /// asked is left as it is: why it doesn't start is said when it doesn't.
    pub(super) async fn raise_limits(&self, change: &mut Change) -> Result<(), OrderError> {
        let too_low = self.too_low_at_rest().await;
        for (name, needed) in &too_low {
            tracing::warn!(name, needed, "lower than the primary's: raised");
            let setting = limit_as_on_the_primary(name, *needed);
            change.settings().set(setting);
        }
        let names: Vec<&str> = too_low.iter().map(|(name, _)| *name).collect();
        self.remove_from_auto_file(&names)
    }

    /// Starts a standby anew, with higher limits, if it can't replay with those it has.
    pub(super) async fn restart_with_limits(&self) -> Result<(), OrderError> {
        if self.watch.running()?.is_none() {
            return Ok(());
        }
        let session = self.session().await?;
        let too_low = self.too_low_in_force(&session).await?;
        self.leave(session);
        if too_low.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            ?too_low,
            "nothing is replayed with lower limits than the primary's: the server is started anew"
        );
        self.stop_and_wait(StopMode::Fast).await?;
        let mut change = self.change()?;
        self.raise_limits(&mut change).await?;
        self.write(change)?;
        self.start().await
    }

    fn limits_needed(&self) -> Vec<Limit> {
        match ControlFile::read(&self.node.file.data_directory) {
            Ok(control_file) => {
                let needed = limits_needed(&control_file.settings);
                STANDBY_LIMITS.into_iter().zip(needed).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "which limits the primary has can't be told");
                Vec::new()
            }
        }
    }

    async fn too_low_at_rest(&self) -> Vec<Limit> {
        let file = self.node.file.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let postgres = file.bin_dir.join("postgres");
            configured(
                &postgres,
                &file.data_directory,
                &file.config_file,
                &STANDBY_LIMITS,
            )
        });
        match asking.await.expect("asking a program does not panic") {
            Ok(values) => too_low(self.limits_needed(), &values),
            Err(error) => {
                tracing::warn!(%error, "which limits the server would have can't be told");
                Vec::new()
            }
        }
    }

    async fn too_low_in_force(&self, session: &Session) -> Result<Vec<Limit>, OrderError> {
        let sql = "SELECT array_agg(current_setting(name) ORDER BY place) \
                   FROM unnest($1::text[]) WITH ORDINALITY AS limits (name, place)";
        let row = session.query_one(sql, &[&STANDBY_LIMITS.as_slice()]).await;
        let values: Vec<String> = row.map_err(OrderError::sql("see its limits"))?.get(0);
        Ok(too_low(self.limits_needed(), &values))
    }
}

/// Those limits that are above the values, in the same order.
fn too_low(limits: Vec<Limit>, values: &[String]) -> Vec<Limit> {
    let pairs = limits.into_iter().zip(values);
    pairs
        .filter(|((_, needed), value)| value.parse().is_ok_and(|value: i32| value < *needed))
        .map(|(limit, _)| limit)
        .collect()
}
