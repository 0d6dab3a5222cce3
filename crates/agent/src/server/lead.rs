//! Being the primary: promoted, behind a closed gate, with a rule in the WAL.

use std::io;
use std::time::Duration;

use manada_core::position::Rule;
use manada_core::server::Gate;
use manada_herd::schema::protection_sql;
use manada_herd::{Door, protection};
use manada_model::{Lsn, TimelineHistory, TimelineId};
use manada_postgres::process::reload;
use manada_postgres::settings::ManagedSettings;
use tokio::time::Instant;

use super::Shared;
use super::error::OrderError;
use super::policy::set_nobody;
use super::said::Said;

/// How long a promotion is waited for. One is a matter of a tenth of a second where replay has
/// come to its end.
const PROMOTED_WITHIN: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// How many rules are kept.
const RULES_KEPT: i64 = 100;

impl Shared {
    /// Promotes this standby, the gate closed and commits waiting for nobody.
    pub(super) async fn promote(&self) -> Result<(), OrderError> {
        let mut change = self.change()?;
        set_nobody(&mut change);
        change.door(Door::Closed);
        self.forbid_archiving()?;
        let session = self.put_in_force(change).await?;
        self.demand_nobody(&session).await?;
        if !self.checkpointer_obeys() {
            self.have_checkpointer_obey(&session).await?;
        }
        self.keep_slots(&session).await?;
        let told = session
            .execute(
                "SELECT pg_promote(wait => false) WHERE pg_is_in_recovery()",
                &[],
            )
            .await;
        told.map_err(OrderError::sql("tell the server to be the primary"))?;
        let deadline = Instant::now() + PROMOTED_WITHIN;
        loop {
            let row = session
                .query_one("SELECT NOT pg_is_in_recovery()", &[])
                .await;
            if row
                .map_err(OrderError::sql("see whether it is promoted"))?
                .get(0)
            {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(OrderError::NotPromoted {
                    within: PROMOTED_WITHIN,
                });
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Writes a rule, flushed here and waiting for nobody. Tells where the WAL then ends.
    pub(super) async fn write_rule(&self, rule: &Rule) -> Result<Lsn, OrderError> {
        let error = || OrderError::sql("write a rule");
        let session = self.session().await?;
        let row = session.query_one(Said::HAS_RULES, &[]).await;
        let has_rules: bool = row.map_err(error())?.get(0);
        if !has_rules {
            let sql = protection_sql(&self.node.file.replication_role)?;
            session.batch_execute(&sql).await.map_err(error())?;
        }
        let epoch = i64::try_from(rule.id.epoch.0).unwrap_or(i64::MAX);
        let sub = i32::try_from(rule.id.sub).unwrap_or(i32::MAX);
        let policy = tokio_postgres::types::Json(&rule.policy);
        session
            .execute(
                "WITH old AS (DELETE FROM manada.rule WHERE (epoch, sub) IN (\
                 SELECT epoch, sub FROM manada.rule ORDER BY epoch DESC, sub DESC OFFSET $5)) \
                 INSERT INTO manada.rule (epoch, sub, leader, policy) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (epoch, sub) DO UPDATE \
                 SET leader = excluded.leader, policy = excluded.policy, written_at = now()",
                &[&epoch, &sub, &rule.leader.as_str(), &policy, &RULES_KEPT],
            )
            .await
            .map_err(error())?;
        // The commit has been flushed: this is at its end or behind it.
        let sql = "SELECT pg_current_wal_flush_lsn()::text";
        let row = session.query_one(sql, &[]).await.map_err(error())?;
        let text: String = row.get(0);
        self.leave(session);
        Ok(text.parse().expect("an LSN, as pg_lsn prints it"))
    }

    /// Lets clients in, or no more; and has finished WAL archived only while they are in.
    pub(super) async fn set_gate(&self, gate: Gate) -> Result<(), OrderError> {
        let mut change = self.change()?;
        match gate {
            Gate::Open => change.door(Door::Open),
            Gate::Closed => {
                self.forbid_archiving()?;
                change.door(Door::Closed);
            }
        }
        if self.watch.running()?.is_some() {
            let session = self.put_in_force(change).await?;
            self.leave(session);
        } else {
            self.write(change)?;
        }
        match gate {
            Gate::Open => {
                self.allow_archiving()?;
                if let Err(error) = self.archive_received().await {
                    tracing::warn!(%error, "WAL that the former leader did not archive may be missing");
                }
                Ok(())
            }
            Gate::Closed => Ok(()),
        }
    }

    /// Has the server archive what it received from former leaders, which may have had no time to.
    async fn archive_received(&self) -> Result<(), OrderError> {
        let data_directory = &self.node.file.data_directory;
        let settings = ManagedSettings::read(&self.node.file.settings_file())?;
        if !protection::archives_by_manada(&settings) {
            return Ok(());
        }
        let session = self.session().await?;
        let sql = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8), \
                   pg_size_bytes(current_setting('wal_segment_size'))";
        let row = session.query_one(sql, &[]).await;
        let row = row.map_err(OrderError::sql("see its timeline"))?;
        let (timeline, segment_bytes): (String, i64) = (row.get(0), row.get(1));
        self.leave(session);
        let path = data_directory.join(format!("pg_wal/{timeline}.history"));
        let failed = || OrderError::io("read", &path);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // On the first timeline nothing was received.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed()(error)),
        };
        let timeline = TimelineId(u32::from_str_radix(&timeline, 16).unwrap_or_default());
        let history = TimelineHistory::parse(timeline, &text)
            .map_err(|error| failed()(io::Error::other(error)))?;
        let segment_bytes = u32::try_from(segment_bytes).unwrap_or(u32::MAX);
        let again = manada_wal::archive::archive_received(data_directory, &history, segment_bytes)
            .map_err(OrderError::io(
                "look at the archive status in",
                data_directory,
            ))?;
        if again > 0 {
            // It wakes the archiver.
            reload(data_directory)?;
        }
        Ok(())
    }
}
