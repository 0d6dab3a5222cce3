//! Waiting until a standby follows, as its primary sees it.

use std::time::Duration;

use manada_model::NodeName;
use manada_postgres::conninfo::Endpoint;
use manada_postgres::process::{RunningError, running};
use manada_postgres::session::server_message;
use manada_postgres::{ConnectError, Session};
use tokio::time::Instant;

use crate::node::Node;

/// How long a standby is given to replay what its clone came with and to begin to stream.
const STREAMING_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// How much of the standby's log goes into an error.
const LOG_TAIL_BYTES: usize = 2000;

/// A standby that runs does not follow.
#[derive(Debug, thiserror::Error)]
pub enum StreamingError {
    /// The primary can't be asked.
    #[error("asking the primary: {0}")]
    Connect(#[from] ConnectError),
    /// It does not answer.
    #[error("asking {endpoint}: {}", server_message(source))]
    Sql {
        /// The primary.
        endpoint: Endpoint,
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// The standby's process has ended.
    #[error("the standby stopped while it was waited for. It said:\n{log_tail}")]
    Ended {
        /// The end of its log.
        log_tail: String,
    },
    /// Whether it runs can't be told.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// Time ran out.
    #[error(
        "{name} does not stream from its primary after {} s. It said:\n{log_tail}",
        STREAMING_WITHIN.as_secs()
    )]
    NotStreaming {
        /// The standby.
        name: NodeName,
        /// The end of its log.
        log_tail: String,
    },
}

/// Waits until the primary sends to the standby `node`, and the standby answers reads.
pub(super) async fn wait(node: &Node, primary: Endpoint) -> Result<(), StreamingError> {
    let deadline = Instant::now() + STREAMING_WITHIN;
    let session = Session::open(&node.monitor(primary)).await?;
    let name = node.file.name.as_str();
    let query = "SELECT count(*) FROM pg_stat_replication \
                 WHERE application_name = $1 AND state = 'streaming'";
    let sql_error = |source| StreamingError::Sql {
        endpoint: session.endpoint().clone(),
        source,
    };
    let statement = session.prepare(query).await.map_err(sql_error)?;
    loop {
        let row = session
            .query_one(&statement, &[&name])
            .await
            .map_err(sql_error)?;
        // The standby takes connections once it is consistent, which may be later.
        if row.get::<_, i64>(0) > 0 && node.open_superuser().await.is_ok() {
            return Ok(());
        }
        if running(&node.file.data_directory)?.is_none() {
            return Err(StreamingError::Ended {
                log_tail: log_tail(node),
            });
        }
        if Instant::now() >= deadline {
            return Err(StreamingError::NotStreaming {
                name: node.file.name.clone(),
                log_tail: log_tail(node),
            });
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn log_tail(node: &Node) -> String {
    let log = std::fs::read(node.home.log_file()).unwrap_or_default();
    let begin = log.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(&log[begin..]).trim_end().to_owned()
}
