//! A client's session with one server.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::Severity;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, SimpleQueryMessage, Socket};

use super::{Manners, Server};
use crate::checker::Recorder;

/// How long a search for the primary goes on before the client looks whether it shall.
const SEARCH_MAX: Duration = Duration::from_secs(2);

/// An open session, and with whom.
pub(super) struct OpenSession {
    pub(super) node: String,
    pub(super) opened: Duration,
    client: Client,
    warned: Arc<AtomicBool>,
    driver: JoinHandle<()>,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        // Else it would wait for a server that may never answer.
        self.driver.abort();
    }
}

/// What came of a statement.
pub(super) enum Answer {
    /// The rows, after the commit.
    Rows(Vec<Vec<Option<String>>>),
    /// An error that leaves the session open: nothing was committed.
    Refused,
    /// It may have been committed or not, and the session is of no more use.
    Unknown,
    /// It was committed here, and the wait for standbys was cancelled.
    InDoubt,
}

impl OpenSession {
    /// A session with the first of `servers` that lets clients in and takes writes. Each server
    /// is asked over and over on its own, so that a silent one delays no other.
    pub(super) async fn read_write(
        servers: &[Server],
        manners: Manners,
        recorder: &Arc<Recorder>,
    ) -> Option<OpenSession> {
        let mut searches = JoinSet::new();
        for server in servers {
            let (server, recorder) = (server.clone(), Arc::clone(recorder));
            searches.spawn(async move {
                loop {
                    let wanted = TargetSessionAttrs::ReadWrite;
                    let limit = manners.connect_max;
                    match OpenSession::open(&server, wanted, limit, &recorder).await {
                        Some(session) => return session,
                        None => sleep(manners.retry_pause).await,
                    }
                }
            });
        }
        let found = timeout(SEARCH_MAX, searches.join_next()).await;
        found.ok()??.ok()
    }

    /// A session with that server, whatever it is.
    pub(super) async fn with(
        server: &Server,
        manners: Manners,
        recorder: &Arc<Recorder>,
    ) -> Option<OpenSession> {
        let limit = manners.connect_max;
        OpenSession::open(server, TargetSessionAttrs::Any, limit, recorder).await
    }

    async fn open(
        server: &Server,
        looks_for: TargetSessionAttrs,
        limit: Duration,
        recorder: &Recorder,
    ) -> Option<OpenSession> {
        let opened = recorder.now();
        let mut config = server.config();
        config.target_session_attrs(looks_for);
        let (client, connection) = timeout(limit, config.connect(NoTls)).await.ok()?.ok()?;
        let warned = Arc::new(AtomicBool::new(false));
        let driver = tokio::spawn(drive(connection, Arc::clone(&warned)));
        Some(OpenSession {
            node: server.name.clone(),
            opened,
            client,
            warned,
            driver,
        })
    }

    /// Runs one statement, which is a transaction of its own.
    pub(super) async fn run(&self, sql: &str, limit: Duration) -> Answer {
        self.warned.store(false, Ordering::Relaxed);
        let Ok(answer) = timeout(limit, self.client.simple_query(sql)).await else {
            return Answer::Unknown;
        };
        match answer {
            Ok(_) if self.warned.load(Ordering::Relaxed) => Answer::InDoubt,
            Ok(messages) => Answer::Rows(rows(&messages)),
            Err(error) => match error.as_db_error() {
                // A FATAL or a PANIC can come after the commit.
                Some(said) if said.parsed_severity() == Some(Severity::Error) => Answer::Refused,
                Some(_) | None => Answer::Unknown,
            },
        }
    }

    /// Whether the session is over.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Moves the session's messages, and notes a warning: the one that a single INSERT can give is
/// that its wait for standbys was cancelled.
async fn drive(mut connection: Connection<Socket, NoTlsStream>, warned: Arc<AtomicBool>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(_) = message {
            warned.store(true, Ordering::Relaxed);
        }
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> Vec<Vec<Option<String>>> {
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            ),
            // The rest announces columns and counts rows; the enum is open.
            _ => None,
        })
        .collect()
}
