//! A slot for every other member, on every node: whoever comes to lead, the others find theirs.

use std::collections::BTreeSet;

use manada_postgres::Session;

use super::Shared;
use super::error::OrderError;

impl Shared {
    /// Makes the slots that are missing. On a standby a slot holds no WAL: one that does is of a time
    /// when this node led, or was followed, and is made anew, since nobody would ever move it on.
    /// One of no member goes there too; a primary keeps it, since it may be a newcomer's.
    pub(super) async fn keep_slots(&self, session: &Session) -> Result<(), OrderError> {
        let wanted: BTreeSet<String> = {
            let members = self.lock_members();
            if members.is_empty() {
                return Ok(());
            }
            let others = members
                .iter()
                .filter(|member| member.name != self.node.file.name);
            others
                .map(|member| member.name.slot().as_str().to_owned())
                .collect()
        };
        let error = || OrderError::sql("keep a slot for each member");
        let rows = session
            .query(
                "SELECT slot_name::text, restart_lsn IS NOT NULL AS holds_wal \
                 FROM pg_replication_slots WHERE pg_is_in_recovery() \
                 AND slot_type = 'physical' AND NOT active AND starts_with(slot_name, 'manada_')",
                &[],
            )
            .await
            .map_err(error())?;
        for row in rows {
            let name: String = row.get(0);
            let holds_wal: bool = row.get(1);
            if holds_wal || !wanted.contains(&name) {
                let dropped = session
                    .execute("SELECT pg_drop_replication_slot($1::text::name)", &[&name])
                    .await;
                // It may have come into use since.
                if let Err(source) = dropped {
                    tracing::info!(slot = name, error = %source, "a slot stays");
                }
            }
        }
        let wanted: Vec<String> = wanted.into_iter().collect();
        session
            .execute(
                "SELECT pg_create_physical_replication_slot(name::name) \
                 FROM unnest($1::text[]) AS name \
                 WHERE name NOT IN (SELECT slot_name FROM pg_replication_slots)",
                &[&wanted],
            )
            .await
            .map_err(error())?;
        Ok(())
    }
}
