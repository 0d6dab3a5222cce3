//! A commit that waits as the policy says, and leaves nothing behind: no table, no row.
//!
//! `pg_logical_emit_message(true, …)` takes a transaction id and writes WAL, so its commit waits for
//! standbys as any other does (`RecordTransactionCommit` in `xact.c`: a commit without either
//! does not wait). The message itself is read by nobody.

use std::time::{Duration, Instant};

use manada_model::Lsn;
use manada_postgres::Session;
use manada_postgres::session::{Canceller, ConnectError};
use serde::Deserialize;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use crate::survey::Way;

/// How long ending a commit's wait may take. It may be the last thing before the program ends.
const CANCEL_WITHIN: Duration = Duration::from_secs(1);

const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = ";
const WRITE: &str = "SELECT pg_logical_emit_message(true, 'manada', 'probe'), pg_current_xact_id()";

/// Where the server and its receivers are; sent right behind the commit, so that it is read as soon
/// as the commit has returned.
const POSITIONS: &str = "SELECT json_build_object('inserted', pg_current_wal_insert_lsn(), \
     'receivers', coalesce((SELECT json_agg(json_build_object('name', application_name, \
     'pid', pid, 'state', state, 'write', write_lsn, 'flush', flush_lsn, 'replay', replay_lsn)) \
     FROM pg_stat_replication), '[]'))";

/// A probe can't be made, or its session broke.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No session for it.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused a statement, or the connection broke.
    #[error(
        "the probe's session with {endpoint}: {}",
        manada_postgres::session::server_message(source)
    )]
    Query {
        /// The server.
        endpoint: String,
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// Its wait could not be ended.
    #[error(transparent)]
    Cancel(#[from] manada_postgres::session::CancelError),
    /// An answer without what was asked for.
    #[error("the probe's session with {endpoint} gave no answer that can be read")]
    Unexpected {
        /// The server.
        endpoint: String,
    },
}

/// A session for commits that may wait for ever. Dropping it while one waits ends the wait.
#[derive(Debug)]
pub(crate) struct Probe {
    session: Session,
    canceller: Canceller,
    pid: i32,
    may_wait: bool,
}

/// A transaction that has written and not yet committed.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// Its id, with the epoch.
    pub(crate) xid: String,
    /// The end of its last record: its commit's record lies beyond.
    pub(crate) message_lsn: Lsn,
}

/// What was seen right after a commit returned.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Positions {
    /// The end of all WAL by then: the commit's record lies before.
    pub(crate) inserted: Lsn,
    /// How far each receiver was.
    pub(crate) receivers: Vec<Receiver>,
}

/// A walsender's receiver.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Receiver {
    pub(crate) name: String,
    pub(crate) state: Option<String>,
    pub(crate) write: Option<Lsn>,
    pub(crate) flush: Option<Lsn>,
    pub(crate) replay: Option<Lsn>,
}

impl Probe {
    pub(crate) async fn open(way: &Way) -> Result<Probe, ProbeError> {
        let session = way.open().await?;
        let mut probe = Probe {
            canceller: session.canceller(),
            session,
            pid: 0,
            may_wait: false,
        };
        let rows = probe.ask("SELECT pg_backend_pid()").await?;
        let pid = rows.first().and_then(|row| row.first()?.parse().ok());
        probe.pid = pid.ok_or_else(|| probe.unexpected())?;
        Ok(probe)
    }

    /// The server's process of this session.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Begins a transaction under `synchronous_commit = level` and writes in it.
    pub(crate) async fn write(&self, level: &str) -> Result<Written, ProbeError> {
        let rows = self.ask(&format!("{BEGIN}{level}; {WRITE}")).await?;
        let written = rows.last().and_then(|row| match &row[..] {
            [lsn, xid] => Some(Written {
                xid: xid.clone(),
                message_lsn: lsn.parse().ok()?,
            }),
            _ => None,
        });
        written.ok_or_else(|| self.unexpected())
    }

    /// Commits, and looks where everybody is once that has returned. The time is the commit's alone.
    pub(crate) async fn commit(&mut self) -> Result<(Duration, Positions), ProbeError> {
        self.may_wait = true;
        let begun = Instant::now();
        let session = &self.session;
        // Both are sent at once: the server answers the second right behind the first.
        let (committed, positions) = tokio::join!(
            async {
                let done = session.simple_query("COMMIT").await;
                (done, begun.elapsed())
            },
            self.ask(POSITIONS)
        );
        let (done, took) = committed;
        self.may_wait = false;
        done.map_err(|source| self.failed(source))?;
        let rows = positions?;
        let json = rows.first().and_then(|row| row.first());
        let positions = json.and_then(|json| serde_json::from_str(json).ok());
        Ok((took, positions.ok_or_else(|| self.unexpected())?))
    }

    /// What ends a commit's wait from outside.
    pub(crate) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Vec<String>>, ProbeError> {
        ask(&self.session, sql)
            .await
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: tokio_postgres::Error) -> ProbeError {
        ProbeError::Query {
            endpoint: self.session.endpoint().to_string(),
            source,
        }
    }

    fn unexpected(&self) -> ProbeError {
        ProbeError::Unexpected {
            endpoint: self.session.endpoint().to_string(),
        }
    }
}

/// A backend that waits for a standby does not notice that its client is gone: it is told to stop
/// waiting, which keeps its commit on the primary and nothing else.
impl Drop for Probe {
    fn drop(&mut self) {
        if !self.may_wait {
            return;
        }
        let canceller = self.canceller.clone();
        // Whoever drops this may be a runtime that is about to end: a thread of its own does it.
        let ending = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                if let Ok(Err(error)) =
                    tokio::time::timeout(CANCEL_WITHIN, canceller.cancel()).await
                {
                    tracing::warn!(%error, "a probe's commit still waits");
                }
            });
            std::io::Result::Ok(())
        });
        // Its failure has been told; there is nobody left to hear of it.
        ending.join().ok();
    }
}

/// What a commit whose wait was cancelled comes to. The postmaster signals the backend and its process
/// group, so a second signal may meet the statement behind the commit: that it ends is no failure.
pub(crate) fn after_cancel<T>(outcome: Result<T, ProbeError>) -> Result<(), ProbeError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(ProbeError::Query { source, .. })
            if source.code() == Some(&SqlState::QUERY_CANCELED) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// All rows of a batch, as text; null is the empty text.
pub(crate) async fn ask(
    session: &Session,
    sql: &str,
) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let messages = session.simple_query(sql).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let texts = (0..row.len()).map(|column| row.get(column).unwrap_or_default());
            Some(texts.map(str::to_owned).collect())
        }
        // Command tags and column names; the enum is open.
        _ => None,
    });
    Ok(rows.collect())
}
