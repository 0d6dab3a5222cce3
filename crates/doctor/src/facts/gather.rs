//! Asks every server, all at once, each within a bound.

use std::time::Duration;

use futures_util::future::{join, join_all};
use manada_model::Lsn;
use manada_postgres::session::server_message;
use manada_postgres::transport::Peer;
use manada_postgres::{ConnectError, Conninfo, Session};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::source::{Source, Unknown, Why};
use super::{
    AccessRule, ArchiveQueue, Archiver, Certificate, Clock, Database, FileEntry, Herd, Identity,
    Limits, OpenTransaction, PreparedTransaction, Recovery, RoleSetting, Server, Settings, Slot,
    Unlogged, Unreached, WalDisk, WalReceiver, WalSender, recovery, roles,
};

/// How long one server may take for all that it is asked, its first connection not included.
const ANSWERS_MAX: Duration = Duration::from_secs(15);

/// A server to ask.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is called in findings.
    pub name: String,
    /// How to reach it: one endpoint.
    pub conninfo: Conninfo,
    /// The operating system's user to be on its Unix socket.
    pub peer: Option<Peer>,
}

/// Asks all of `targets` at the same time.
pub async fn gather(targets: &[Target]) -> Herd {
    let asked = join_all(targets.iter().map(ask)).await;
    let mut herd = Herd {
        limits: Limits::default(),
        ..Herd::default()
    };
    for answer in asked {
        match answer {
            Ok(server) => herd.servers.push(server),
            Err(unreached) => herd.unreached.push(unreached),
        }
    }
    herd
}

async fn ask(target: &Target) -> Result<Server, Unreached> {
    let unreached = |error: String, hot_standby_off| Unreached {
        name: target.name.clone(),
        error,
        hot_standby_off,
    };
    let session = target
        .open(target.conninfo.clone())
        .await
        .map_err(|error| {
            let hot_standby_off = is_hot_standby_off(&error);
            unreached(error.to_string(), hot_standby_off)
        })?;
    let answers = tokio::time::timeout(ANSWERS_MAX, answers(target, &session)).await;
    match answers {
        Ok(Ok(server)) => Ok(server),
        Ok(Err(unknown)) => Err(unreached(unknown.to_string(), false)),
        Err(_) => {
            let limit = ANSWERS_MAX.as_secs();
            Err(unreached(format!("no answer within {limit} s"), false))
        }
    }
}

impl Target {
    /// A session that can neither write nor wait for long, and finds PostgreSQL's own names only.
    pub(super) async fn open(&self, conninfo: Conninfo) -> Result<Session, ConnectError> {
        let session = Session::open_as(&conninfo, self.peer).await?;
        let bounds = "SET statement_timeout = '10s'; SET lock_timeout = '2s'; \
                      SET default_transaction_read_only = on; SET search_path = pg_catalog";
        // Where one is refused, the questions still say what they say.
        if let Err(error) = session.batch_execute(bounds).await {
            tracing::debug!(%error, "a session's bounds were refused");
        }
        Ok(session)
    }
}

/// PostgreSQL says it in the detail of the refusal (`postmaster.c`, `CAC_NOTCONSISTENT`).
fn is_hot_standby_off(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { source, .. } => source.as_db_error().is_some_and(|said| {
            *said.code() == SqlState::CANNOT_CONNECT_NOW
                && said
                    .detail()
                    .is_some_and(|detail| detail.contains("Hot standby mode is disabled"))
        }),
        ConnectError::Transport(_) | ConnectError::TimedOut { .. } => false,
    }
}

async fn answers(target: &Target, session: &Session) -> Result<Server, Unknown> {
    // The clock first and alone: nothing else may delay its answer.
    let clock = Clock::read(session).await;
    let identity = Identity::read(session).await?;
    let rights = identity.rights.clone();
    let databases = Database::read(session).await;
    let (unlogged, certificate) = join(
        Unlogged::read(target, &databases),
        Certificate::read(&target.conninfo, session.endpoint()),
    )
    .await;
    Ok(Server {
        name: target.name.clone(),
        clock,
        settings: Settings::read(session, &rights).await,
        file_entries: FileEntry::read(session).await,
        access_rules: AccessRule::read(session).await,
        role_settings: RoleSetting::read(session).await,
        md5_roles: roles::read(session).await,
        slots: Slot::read(session).await,
        walsenders: WalSender::read(session, &rights).await,
        walreceiver: WalReceiver::read(session, &rights).await,
        recovery: Recovery::read(session, identity.in_recovery).await,
        forks: recovery::read_forks(session, identity.timeline).await,
        archiver: Archiver::read(session).await,
        archive_queue: ArchiveQueue::read(session).await,
        wal_disk: WalDisk::read(session).await,
        databases,
        unlogged,
        transactions: OpenTransaction::read(session, &rights).await,
        prepared: PreparedTransaction::read(session).await,
        certificate,
        identity,
    })
}

/// Asks one question; what the role may not know is told from what went wrong.
pub(super) async fn rows<T>(
    session: &Session,
    source: Source,
    sql: &str,
    read: impl Fn(&Row) -> T,
) -> Result<Vec<T>, Unknown> {
    let asked = session.query(sql, &[]).await;
    let rows = asked.map_err(|error| {
        let denied = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let why = if denied {
            Why::Denied
        } else {
            Why::Failed(server_message(&error))
        };
        Unknown::new(source, why)
    })?;
    Ok(rows.iter().map(read).collect())
}

/// An LSN that was asked for as text.
pub(super) fn lsn(row: &Row, column: &str) -> Option<Lsn> {
    row.get::<_, Option<&str>>(column)?.parse().ok()
}

/// A time that was asked for in seconds; a clock that was set back makes it zero.
pub(super) fn seconds(row: &Row, column: &str) -> Option<Duration> {
    let seconds: Option<f64> = row.get(column);
    seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
