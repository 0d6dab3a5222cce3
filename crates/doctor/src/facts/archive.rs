//! How archiving goes, and what waits for it.

use std::time::Duration;

use manada_postgres::Session;

use super::gather::{rows, seconds};
use super::source::{Fact, Source};

/// `pg_stat_archiver`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archiver {
    /// How many segments were archived.
    pub archived_count: u64,
    /// How long ago the last one was.
    pub last_archived: Option<Duration>,
    /// How many attempts failed.
    pub failed_count: u64,
    /// The file of the last failed attempt.
    pub last_failed_wal: Option<String>,
    /// How long ago the last failure was.
    pub last_failed: Option<Duration>,
}

/// The WAL segments that wait to be archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveQueue {
    /// How many.
    pub segments: u64,
    /// How long the oldest has waited.
    pub oldest: Option<Duration>,
}

impl Archiver {
    pub(super) async fn read(session: &Session) -> Fact<Archiver> {
        let sql = "
            SELECT archived_count, failed_count, last_failed_wal,
                   extract(epoch FROM now() - last_archived_time)::float8 AS archived_s,
                   extract(epoch FROM now() - last_failed_time)::float8 AS failed_s
            FROM pg_stat_archiver";
        let read = rows(session, Source::Archiver, sql, |row| Archiver {
            archived_count: row.get::<_, i64>("archived_count").unsigned_abs(),
            last_archived: seconds(row, "archived_s"),
            failed_count: row.get::<_, i64>("failed_count").unsigned_abs(),
            last_failed_wal: row.get("last_failed_wal"),
            last_failed: seconds(row, "failed_s"),
        })
        .await;
        Fact::from(read).map(|mut archivers| archivers.remove(0))
    }
}

impl ArchiveQueue {
    pub(super) async fn read(session: &Session) -> Fact<ArchiveQueue> {
        let sql = "
            SELECT count(*) AS segments,
                   extract(epoch FROM now() - min(modification))::float8 AS oldest_s
            FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
        let read = rows(session, Source::ArchiveQueue, sql, |row| ArchiveQueue {
            segments: row.get::<_, i64>("segments").unsigned_abs(),
            oldest: seconds(row, "oldest_s"),
        })
        .await;
        Fact::from(read).map(|mut queues| queues.remove(0))
    }
}
