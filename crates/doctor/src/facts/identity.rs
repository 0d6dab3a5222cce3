//! Which server it is, and what the session may read there.

use manada_model::{Lsn, ServerVersion, SystemIdentifier, TimelineId};
use manada_postgres::Session;

use super::gather::{lsn, rows};
use super::source::{Source, Unknown};

/// Which server it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its version.
    pub version: ServerVersion,
    /// The cluster it belongs to.
    pub system_identifier: SystemIdentifier,
    /// Whether it is in recovery.
    pub in_recovery: bool,
    /// The timeline it writes, or replays as far as its control file knows.
    pub timeline: TimelineId,
    /// Up to where its WAL is on its disk: written by a primary; received or replayed by a standby.
    pub flush_lsn: Lsn,
    /// The role of the session.
    pub user: String,
    /// What that role may read.
    pub rights: Rights,
}

/// What a role may read beyond what everybody may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Everything.
    pub superuser: bool,
    /// `pg_read_all_settings`, a part of `pg_monitor`.
    pub read_all_settings: bool,
    /// `pg_read_all_stats`, a part of `pg_monitor`.
    pub read_all_stats: bool,
}

/// On a standby the control file lags behind what the walreceiver is on.
const SQL: &str = "
SELECT current_setting('server_version_num')::int4 AS version,
       (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery()
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                          (SELECT received_tli FROM pg_stat_wal_receiver))::int8
            ELSE ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::int8
       END AS timeline,
       CASE WHEN pg_is_in_recovery()
            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_flush_lsn() END::text AS flush_lsn,
       current_user::text AS user_name,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       pg_has_role('pg_read_all_settings', 'USAGE') AS read_all_settings,
       pg_has_role('pg_read_all_stats', 'USAGE') AS read_all_stats";

impl Identity {
    pub(super) async fn read(session: &Session) -> Result<Identity, Unknown> {
        let mut identities = rows(session, Source::Connection, SQL, |row| {
            let version: i32 = row.get("version");
            let timeline: i64 = row.get("timeline");
            let superuser = row.get("superuser");
            Identity {
                version: ServerVersion(version.unsigned_abs()),
                system_identifier: SystemIdentifier(
                    row.get::<_, i64>("system_identifier").cast_unsigned(),
                ),
                in_recovery: row.get("in_recovery"),
                timeline: TimelineId(timeline.try_into().unwrap_or(0)),
                flush_lsn: lsn(row, "flush_lsn").unwrap_or(Lsn::INVALID),
                user: row.get("user_name"),
                rights: Rights {
                    superuser,
                    read_all_settings: superuser || row.get("read_all_settings"),
                    read_all_stats: superuser || row.get("read_all_stats"),
                },
            }
        })
        .await?;
        Ok(identities.remove(0))
    }
}
