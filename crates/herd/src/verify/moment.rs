//! A moment that several servers have in common: snapshots that see exactly the same transactions.
//!
//! Nothing is locked or paused, and writes go on. Why the snapshots are equal:
//! `docs/design/verify.md`.

use std::time::{Duration, Instant};

use manada_model::Lsn;
use manada_postgres::Session;

use crate::probe::{Probe, ProbeError, ask};

/// How long one attempt waits for the standbys to replay up to its snapshot.
const ATTEMPT_WITHIN: Duration = Duration::from_millis(500);
/// The pause between two looks of an attempt.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The header of a WAL page, and of the first page of a segment, in bytes
/// (`SizeOfXLogShortPHD`, `SizeOfXLogLongPHD`).
const PAGE_HEADER_BYTES: u64 = 24;
const SEGMENT_HEADER_BYTES: u64 = 40;
const WAL_PAGE_BYTES: u64 = 8192;

const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SELECT pg_snapshot_xmax(s), \
       array_to_string(array(SELECT pg_snapshot_xip(s)), ','), \
       pg_current_wal_insert_lsn(), current_setting('wal_segment_size') \
     FROM (SELECT pg_current_snapshot() AS s OFFSET 0) AS snapshot";

/// Why there is no common moment.
#[derive(Debug, thiserror::Error)]
pub enum MomentError {
    /// The probe that flushes WAL failed.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A server refused, or a connection broke.
    #[error("{server}: {}", manada_postgres::session::server_message(source))]
    Query {
        /// The server's name.
        server: String,
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// An answer that can't be read.
    #[error("{server} gave no snapshot that can be read")]
    Unexpected {
        /// The server's name.
        server: String,
    },
    /// Writes come faster than the standbys follow, or a standby does not follow.
    #[error(
        "no moment was found within {} s at which all servers had replayed the same commits ({attempts} attempts)",
        within.as_secs_f32()
    )]
    NoneFound {
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        within: Duration,
    },
}

/// A session in which a snapshot is to be taken.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) name: &'a str,
    pub(super) session: &'a Session,
}

/// What the primary's snapshot sees.
struct Snapshot {
    /// The first transaction that was not completed by then: none from here on is seen.
    xmax: String,
    /// Those before it that were in progress: not seen either.
    in_progress: String,
    /// All commits that are seen lie before.
    lsn: Lsn,
}

/// Leaves a transaction open in each session, all with snapshots that see the same, and says up to
/// which LSN of the primary.
pub(super) async fn share(
    probe: &mut Probe,
    primary: Server<'_>,
    standbys: &[Server<'_>],
    within: Duration,
) -> Result<Lsn, MomentError> {
    let begun = Instant::now();
    let mut attempts = 0;
    while begun.elapsed() < within {
        attempts += 1;
        // Its commit flushes all WAL before the snapshot, so that it reaches the standbys.
        probe.write("local").await?;
        probe.commit().await?;
        let snapshot = snapshot(primary).await?;
        let following = standbys.iter().map(|standby| follow(*standby, &snapshot));
        let followed = futures_util::future::try_join_all(following).await?;
        if followed.iter().all(|matches| *matches) {
            return Ok(snapshot.lsn);
        }
        for server in standbys.iter().chain([&primary]) {
            rollback(*server).await?;
        }
    }
    Err(MomentError::NoneFound { attempts, within })
}

/// Waits until the standbys have replayed all WAL that the primary has now; whether each did in time.
pub(super) async fn wait_for_replay(
    probe: &mut Probe,
    primary: Server<'_>,
    standbys: &[Server<'_>],
    limit: Duration,
) -> Result<Vec<bool>, MomentError> {
    // What no commit has flushed would not be sent, perhaps for long.
    probe.write("local").await?;
    probe.commit().await?;
    let flushed = query(primary, "SELECT pg_current_wal_flush_lsn()").await?;
    let flushed = flushed.first().ok_or_else(|| unexpected(primary))?;
    let look = format!("SELECT pg_last_wal_replay_lsn() >= '{flushed}'");
    let waiting = standbys.iter().map(async |standby| {
        let deadline = Instant::now() + limit;
        loop {
            let row = query(*standby, &look).await?;
            let replayed = row == ["t"];
            if replayed || Instant::now() >= deadline {
                return Ok(replayed);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    });
    futures_util::future::try_join_all(waiting).await
}

/// Ends a server's transaction, if one is open.
pub(super) async fn rollback(server: Server<'_>) -> Result<(), MomentError> {
    let done = server.session.batch_execute("ROLLBACK").await;
    done.map_err(|source| MomentError::Query {
        server: server.name.to_owned(),
        source,
    })
}

async fn query(server: Server<'_>, sql: &str) -> Result<Vec<String>, MomentError> {
    let rows = ask(server.session, sql).await;
    let rows = rows.map_err(|source| MomentError::Query {
        server: server.name.to_owned(),
        source,
    })?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

fn unexpected(server: Server<'_>) -> MomentError {
    MomentError::Unexpected {
        server: server.name.to_owned(),
    }
}

async fn snapshot(primary: Server<'_>) -> Result<Snapshot, MomentError> {
    let row = query(primary, SNAPSHOT).await?;
    let [xmax, in_progress, lsn, segment_size] =
        <[String; 4]>::try_from(row).map_err(|_| unexpected(primary))?;
    let lsn = lsn.parse().map_err(|_| unexpected(primary))?;
    let segment_bytes = segment_bytes(&segment_size).ok_or_else(|| unexpected(primary))?;
    Ok(Snapshot {
        xmax,
        in_progress,
        lsn: end_of_wal(lsn, segment_bytes),
    })
}

/// `SHOW wal_segment_size`, such as `16MB` or `1GB`.
fn segment_bytes(text: &str) -> Option<u64> {
    let megabytes = match text.strip_suffix("GB") {
        Some(number) => number.parse::<u64>().ok()?.checked_mul(1024)?,
        None => text.strip_suffix("MB")?.parse().ok()?,
    };
    megabytes.checked_mul(1 << 20)
}

/// Where the last record ends. The position at which the next one will be inserted lies behind the
/// header of a page that nobody has begun yet; replay stops before it.
fn end_of_wal(inserted: Lsn, segment_bytes: u64) -> Lsn {
    let header = if inserted.0 % segment_bytes == SEGMENT_HEADER_BYTES {
        SEGMENT_HEADER_BYTES
    } else if inserted.0 % WAL_PAGE_BYTES == PAGE_HEADER_BYTES {
        PAGE_HEADER_BYTES
    } else {
        0
    };
    Lsn(inserted.0 - header)
}

/// Takes a standby's snapshot once it has replayed up to `snapshot`; whether it sees the same. It does
/// not where a later transaction has completed there already.
async fn follow(standby: Server<'_>, snapshot: &Snapshot) -> Result<bool, MomentError> {
    let xmax = &snapshot.xmax;
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", snapshot.lsn);
    let snapshot_ends = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SELECT pg_snapshot_xmax(s) = '{xmax}'::xid8, pg_snapshot_xmax(s) > '{xmax}'::xid8 \
         FROM (SELECT pg_current_snapshot() AS s OFFSET 0) AS snapshot"
    );
    let deadline = Instant::now() + ATTEMPT_WITHIN;
    loop {
        // Both are sent at once and answered in this order: what was replayed before the snapshot
        // was taken is in it.
        let (replayed, ends) =
            tokio::try_join!(query(standby, &replayed), query(standby, &snapshot_ends))?;
        let [same, later] = <[String; 2]>::try_from(ends).map_err(|_| unexpected(standby))?;
        if later == "t" {
            return Ok(false);
        }
        if replayed == ["t"] && same == "t" {
            return still_in_progress(standby, snapshot).await;
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        rollback(standby).await?;
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Whether what was in progress for the primary's snapshot is so on the standby, after its snapshot
/// was taken: then it was so in the snapshot, too.
async fn still_in_progress(standby: Server<'_>, snapshot: &Snapshot) -> Result<bool, MomentError> {
    if snapshot.in_progress.is_empty() {
        return Ok(true);
    }
    let look = format!(
        "SELECT coalesce(bool_and(pg_xact_status(xid::xid8) = 'in progress'), true) \
         FROM unnest(string_to_array('{}', ',')) AS xid",
        snapshot.in_progress
    );
    let row = query(standby, &look).await?;
    Ok(row.first().is_some_and(|all| all == "t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_wal_lies_before_the_header_of_a_page_not_begun() {
        let segment = 16 << 20;
        assert_eq!(end_of_wal(Lsn(0x300_0028), segment), Lsn(0x300_0000));
        assert_eq!(end_of_wal(Lsn(0x300_2018), segment), Lsn(0x300_2000));
        assert_eq!(end_of_wal(Lsn(0x300_2028), segment), Lsn(0x300_2028));
        assert_eq!(end_of_wal(Lsn(0x300_0060), segment), Lsn(0x300_0060));
        assert_eq!(segment_bytes("16MB"), Some(segment));
        assert_eq!(segment_bytes("1GB"), Some(1 << 30));
        assert_eq!(segment_bytes("16"), None);
    }
}
