//! Reading one server's status over SQL: one round trip, and no more rights than `pg_monitor`.

mod decode;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use manada_model::{Member, ServerStatus};
use serde::de::DeserializeOwned;
use tokio_postgres::SimpleQueryMessage;

use crate::session::{Session, server_message};

const STATUS: &str = include_str!("status.sql");

/// The herd's members, for whom may read them.
const MEMBERS: &str = "SELECT coalesce(jsonb_agg(jsonb_build_object(\
    'name', name, 'host', host, 'port', port) ORDER BY name), '[]')::text FROM manada.member";

/// A server did not say how it is.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// It refused the question, or the connection broke.
    #[error("{endpoint} did not tell its status: {}", server_message(source))]
    Query {
        /// The server.
        endpoint: String,
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// The time ran out.
    #[error("{endpoint} accepted the connection and did not answer within {} s", limit.as_secs_f32())]
    TimedOut {
        /// The server.
        endpoint: String,
        /// The time it was given.
        limit: Duration,
    },
    /// The answer is not what PostgreSQL 15 to 18 answer.
    #[error("{endpoint} answered something unknown: {reason}")]
    Unexpected {
        /// The server.
        endpoint: String,
        /// What is unknown.
        reason: String,
    },
}

/// Reads the status of the server behind `session`, in at most `limit`: one round trip, and a second
/// one where the herd's list of members can be read.
pub async fn observe(session: &Session, limit: Duration) -> Result<ServerStatus, ObserveError> {
    let asked = Instant::now();
    let observation = async {
        let raw: decode::RawStatus = ask(session, STATUS, limit).await?;
        let round_trip = asked.elapsed();
        let answered_at = Timestamp::now();
        let members: Vec<Member> = if raw.has_members {
            ask_members(session, limit).await?
        } else {
            Vec::new()
        };
        raw.decode(answered_at, round_trip, members)
            .map_err(|reason| unexpected(session, reason))
    };
    tokio::time::timeout(limit, observation)
        .await
        .unwrap_or_else(|_| Err(timed_out(session, limit)))
}

/// The herd's members. Table `manada.member` lives in one database, which may not be the one whose
/// session gave the status: there it has to be asked for separately.
pub async fn members(session: &Session, limit: Duration) -> Result<Vec<Member>, ObserveError> {
    let answer = tokio::time::timeout(limit, ask_members(session, limit));
    answer
        .await
        .unwrap_or_else(|_| Err(timed_out(session, limit)))
}

async fn ask_members(session: &Session, limit: Duration) -> Result<Vec<Member>, ObserveError> {
    let raw: Vec<decode::RawMember> = ask(session, MEMBERS, limit).await?;
    Ok(raw.into_iter().map(Member::from).collect())
}

/// Asks for one row with one column of JSON. The server ends the statement at `limit` by itself.
async fn ask<T: DeserializeOwned>(
    session: &Session,
    query: &str,
    limit: Duration,
) -> Result<T, ObserveError> {
    let limit_ms = limit.as_millis().max(1);
    let text =
        format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {limit_ms}; {query}; COMMIT");
    let answered = session.simple_query(&text).await;
    let messages = match answered {
        Ok(messages) => messages,
        Err(source) => {
            // The session may be another's: leave no failed transaction in it. If this fails too,
            // the connection is gone, which the first error says.
            session.batch_execute("ROLLBACK").await.ok();
            return Err(ObserveError::Query {
                endpoint: session.endpoint().to_string(),
                source,
            });
        }
    };
    let json = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        // Command tags and column names; the enum is open.
        _ => None,
    });
    let json = json.ok_or_else(|| unexpected(session, "no row".to_owned()))?;
    serde_json::from_str(json).map_err(|error| unexpected(session, error.to_string()))
}

fn timed_out(session: &Session, limit: Duration) -> ObserveError {
    ObserveError::TimedOut {
        endpoint: session.endpoint().to_string(),
        limit,
    }
}

fn unexpected(session: &Session, reason: String) -> ObserveError {
    ObserveError::Unexpected {
        endpoint: session.endpoint().to_string(),
        reason,
    }
}
