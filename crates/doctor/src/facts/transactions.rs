//! Transactions that keep vacuum from its work.

use std::time::Duration;

use manada_postgres::Session;

use super::gather::{rows, seconds};
use super::identity::Rights;
use super::source::{Fact, Source, Why};

/// A transaction of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// The session's process.
    pub pid: u32,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// `active`, `idle in transaction` and the like.
    pub state: String,
    /// How long it has been open.
    pub open_for: Duration,
    /// Whether it keeps row versions from vacuum.
    pub holds_xmin: bool,
}

/// A transaction that was prepared for a two-phase commit and is in nobody's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTransaction {
    /// Its global identifier.
    pub gid: String,
    /// The role that prepared it.
    pub owner: String,
    /// The database.
    pub database: String,
    /// How long ago it was prepared.
    pub prepared_for: Duration,
}

impl OpenTransaction {
    pub(super) async fn read(session: &Session, rights: &Rights) -> Fact<Vec<OpenTransaction>> {
        if !rights.read_all_stats {
            return Fact::unknown(Source::Activity, Why::Denied);
        }
        let sql = "
            SELECT pid, coalesce(usename::text, '') AS user_name,
                   coalesce(datname::text, '') AS database, coalesce(state, '') AS state,
                   extract(epoch FROM clock_timestamp() - xact_start)::float8 AS open_s,
                   backend_xmin IS NOT NULL OR backend_xid IS NOT NULL AS holds_xmin
            FROM pg_stat_activity
            WHERE xact_start IS NOT NULL AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid()
            ORDER BY xact_start";
        rows(session, Source::Activity, sql, |row| OpenTransaction {
            pid: row.get::<_, i32>("pid").unsigned_abs(),
            user: row.get("user_name"),
            database: row.get("database"),
            state: row.get("state"),
            open_for: seconds(row, "open_s").unwrap_or_default(),
            holds_xmin: row.get("holds_xmin"),
        })
        .await
        .into()
    }
}

impl PreparedTransaction {
    pub(super) async fn read(session: &Session) -> Fact<Vec<PreparedTransaction>> {
        let sql = "
            SELECT gid, owner::text, database::text,
                   extract(epoch FROM clock_timestamp() - prepared)::float8 AS prepared_s
            FROM pg_prepared_xacts ORDER BY prepared";
        rows(session, Source::PreparedTransactions, sql, |row| {
            PreparedTransaction {
                gid: row.get("gid"),
                owner: row.get("owner"),
                database: row.get("database"),
                prepared_for: seconds(row, "prepared_s").unwrap_or_default(),
            }
        })
        .await
        .into()
    }
}
