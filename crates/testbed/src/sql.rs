//! SQL to a server under test, as `psql` would send it: text in, text out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use crate::background;
use crate::wait::PATIENCE;

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// One connection, kept until it is dropped.
#[derive(Clone)]
pub struct Session {
    client: Arc<Client>,
}

impl Session {
    /// Connects without TLS.
    pub fn connect(config: &Config) -> Result<Session, Error> {
        let config = config.clone();
        background::run(async move {
            let (client, connection) = config.connect(NoTls).await?;
            // Its end shows in the next query's error.
            tokio::spawn(connection);
            Ok(Session {
                client: Arc::new(client),
            })
        })
    }

    /// Runs `sql`, which may be several statements; the rows of all of them.
    ///
    /// # Panics
    /// When no answer comes within [`PATIENCE`].
    #[track_caller]
    pub fn try_query(&self, sql: &str) -> Result<Vec<Row>, Error> {
        match self.start(sql).within(PATIENCE) {
            Some(outcome) => outcome,
            None => panic!("no answer within {PATIENCE:?} to: {sql}"),
        }
    }

    /// As [`Session::try_query`], for what must succeed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Row> {
        match self.try_query(sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{}\nfrom: {sql}", told(&error)),
        }
    }

    /// The one value that `sql` gives; the empty text for NULL.
    ///
    /// # Panics
    /// When it fails, or gives anything but one row of one column.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        match self.query(sql).as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_default(),
            rows => panic!("not one value but {rows:?} from: {sql}"),
        }
    }

    /// Sends `sql` without waiting for its end.
    pub fn start(&self, sql: &str) -> Pending {
        let client = Arc::clone(&self.client);
        let sql = sql.to_owned();
        Pending {
            outcome: background::start(async move { Ok(rows(client.simple_query(&sql).await?)) }),
        }
    }
}

/// A statement on its way.
pub struct Pending {
    outcome: Receiver<Result<Vec<Row>, Error>>,
}

impl Pending {
    /// Its outcome, if that comes within `limit`; it is given once.
    pub fn within(&self, limit: Duration) -> Option<Result<Vec<Row>, Error>> {
        match self.outcome.recv_timeout(limit) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the statement's outcome was already taken")
            }
        }
    }
}

/// An error with what the server said, which `Display` leaves out.
pub fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{error}: {} ({})", said.message(), said.code().code()),
        None => error.to_string(),
    }
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<Row> {
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let texts = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
                Some(texts.collect())
            }
            // The rest announces columns and counts rows; the enum is open.
            _ => None,
        })
        .collect()
}
