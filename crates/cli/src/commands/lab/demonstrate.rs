//! What the practice shows on a running herd: reads, refusals, and what a commit waits for.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use manada_postgres::Session;
use tokio_postgres::error::SqlState;

use super::account::Account;
use super::screen::Screen;
use super::server::{Server, until};
use super::step::{StepId, Used};
use super::texts::{Texts, time};
use crate::error::Failure;

/// How long a commit may take that waits for nobody. It is one flush of a few bytes.
const COMMIT_MAX: Duration = Duration::from_secs(10);

/// A running herd and the way into it.
pub(crate) struct Herd {
    pub(crate) primary: Server,
    pub(crate) standbys: Vec<Server>,
    pub(crate) account: Account,
    /// The lab's own session with the primary.
    pub(crate) session: Session,
}

impl Herd {
    /// The standbys' names, as a list to read.
    pub(crate) fn standby_names(&self) -> String {
        names(&self.standbys)
    }

    /// `test_replication`, written on the primary and read on every standby.
    pub(crate) async fn show_read(
        &self,
        screen: &mut Screen,
        texts: &dyn Texts,
    ) -> Result<(), Failure> {
        let running = screen.begin(StepId::Read);
        let sessions = try_join_all(
            self.standbys
                .iter()
                .map(|standby| standby.session(&self.account)),
        )
        .await?;
        let create = "CREATE TABLE test_replication (id SERIAL PRIMARY KEY, data TEXT);";
        let insert = insert("test_replication", texts.row_asynchronous());
        self.run(create).await?;
        self.run(&insert).await?;
        let written = Instant::now();
        let select = "SELECT * FROM test_replication;";
        let mut row = String::new();
        for (standby, session) in self.standbys.iter().zip(&sessions) {
            row = standby
                .row(session, select, texts.row_asynchronous())
                .await?;
        }
        let after = written.elapsed();
        let primary = self.primary.name();
        let first = self.standbys[0].name();
        let used = vec![
            Used::sql(primary, create),
            Used::sql(primary, insert),
            Used::sql(first, select).gives(row),
        ];
        screen.done(running, texts.read(&self.standby_names(), after), used);
        Ok(())
    }

    /// A write that a standby refuses.
    pub(crate) async fn show_refusal(
        &self,
        screen: &mut Screen,
        texts: &dyn Texts,
    ) -> Result<(), Failure> {
        let running = screen.begin(StepId::ReadOnly);
        let insert = insert("test_replication", texts.row_asynchronous());
        let mut said = String::new();
        for standby in &self.standbys {
            let session = standby.session(&self.account).await?;
            said = match session.batch_execute(&insert).await {
                Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
                    format!(
                        "ERROR 25006: {}",
                        manada_postgres::session::server_message(&error)
                    )
                }
                Err(error) => return Err(standby.refused(&insert, &error)),
                Ok(()) => return Err(standby.failure("took a write", "it is no standby any more")),
            };
        }
        let used = vec![Used::sql(self.standbys[0].name(), insert).gives(said)];
        let title = texts.refused(&self.standby_names(), self.standbys.len());
        screen.done(running, title, used);
        Ok(())
    }

    /// With the standbys stopped a commit returns at once; they catch up when they are back.
    pub(crate) async fn show_asynchronous(
        &self,
        screen: &mut Screen,
        texts: &dyn Texts,
    ) -> Result<(), Failure> {
        let running = screen.begin(StepId::Asynchronous);
        self.stop_standbys().await?;
        let insert = insert("test_replication", texts.row_without_standby());
        let asked = Instant::now();
        match tokio::time::timeout(COMMIT_MAX, self.run(&insert)).await {
            Ok(done) => done?,
            Err(_) => {
                return Err(self
                    .primary
                    .failure("did not commit", "it waits for a standby that is stopped"));
            }
        }
        let commit = asked.elapsed();
        let started = Instant::now();
        self.start_standbys().await?;
        for standby in &self.standbys {
            let session = standby.session(&self.account).await?;
            let select = "SELECT * FROM test_replication;";
            standby
                .row(&session, select, texts.row_without_standby())
                .await?;
        }
        let names = self.standby_names();
        let count = self.standbys.len();
        let used = vec![
            Used::sql(self.primary.name(), insert).gives(time(commit)),
            Used::remark(texts.caught_up(&names, count, started.elapsed())),
        ];
        screen.done(running, texts.asynchronous(&names, count, commit), used);
        Ok(())
    }

    /// With the standbys stopped a commit waits, and returns when they are back.
    pub(crate) async fn show_wait(
        &self,
        screen: &mut Screen,
        texts: &dyn Texts,
    ) -> Result<(), Failure> {
        let running = screen.begin(StepId::Wait);
        self.run("CREATE TABLE test_sync_replication (id SERIAL PRIMARY KEY, data TEXT);")
            .await?;
        self.stop_standbys().await?;

        let insert = insert("test_sync_replication", texts.row_synchronous());
        let writer = self.primary.session(&self.account).await?;
        let backend: i32 = self.ask(&writer, "SELECT pg_backend_pid()").await?;
        let asked = Instant::now();
        let statement = insert.clone();
        let commit = tokio::spawn(async move {
            let outcome = writer.batch_execute(&statement).await;
            (outcome, asked.elapsed())
        });
        let watch = format!(
            "SELECT wait_event FROM pg_stat_activity WHERE pid = {backend} AND wait_event = 'SyncRep'"
        );
        let waiting = until(async || self.look(&watch).await).await?;
        if waiting.is_none() || commit.is_finished() {
            return Err(self.primary.failure(
                "did not wait for its standby",
                "no commit was seen in wait_event SyncRep",
            ));
        }
        self.start_standbys().await?;
        let limit = super::server::PATIENCE;
        let (outcome, waited) = match tokio::time::timeout(limit, commit).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {
                let why = format!(
                    "it still waits {} s after its standby came back",
                    limit.as_secs()
                );
                return Err(self.primary.failure("did not commit", why));
            }
        };
        outcome.map_err(|error| self.primary.refused(&insert, &error))?;

        let standby = &self.standbys[0];
        let session = standby.session(&self.account).await?;
        let select = "SELECT * FROM test_sync_replication;";
        let row = standby
            .row(&session, select, texts.row_synchronous())
            .await?;
        let primary = self.primary.name();
        let used = vec![
            Used::sql(primary, insert),
            Used::sql(
                primary,
                format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {backend};"),
            )
            .gives("SyncRep"),
            Used::sql(standby.name(), select).gives(row),
        ];
        let title = texts.waited(&self.standby_names(), self.standbys.len(), waited);
        screen.done(running, title, used);
        Ok(())
    }

    async fn stop_standbys(&self) -> Result<(), Failure> {
        try_join_all(self.standbys.iter().map(Server::stop)).await?;
        Ok(())
    }

    async fn start_standbys(&self) -> Result<(), Failure> {
        try_join_all(self.standbys.iter().map(Server::start)).await?;
        Ok(())
    }

    /// Runs a statement on the primary.
    pub(crate) async fn run(&self, statement: &str) -> Result<(), Failure> {
        self.session
            .batch_execute(statement)
            .await
            .map_err(|error| self.primary.refused(statement, &error))
    }

    /// The first value that a query on the primary gives, if it gives a row.
    pub(crate) async fn look(&self, query: &str) -> Result<Option<String>, Failure> {
        first_value(&self.session, query)
            .await
            .map_err(|error| self.primary.refused(query, &error))
    }

    async fn ask(&self, session: &Session, query: &str) -> Result<i32, Failure> {
        session
            .query_one(query, &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|error| self.primary.refused(query, &error))
    }
}

impl Server {
    /// Waits until `select` gives a row whose `data` is `expected`, and gives it as psql would.
    async fn row(
        &self,
        session: &Session,
        select: &str,
        expected: &str,
    ) -> Result<String, Failure> {
        let seen = until(async || match rows(session, select).await {
            Ok(rows) => Ok(rows
                .into_iter()
                .find(|(_, data)| data == expected)
                .map(|(id, data)| format!("{id} | {data}"))),
            // The table itself has not arrived yet.
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
            Err(error) => Err(self.refused(select, &error)),
        })
        .await?;
        seen.map(|(row, _)| row).ok_or_else(|| {
            self.failure(
                "does not follow",
                format!("the row {expected:?} did not arrive"),
            )
        })
    }
}

/// Servers' names as a list to read.
pub(crate) fn names(servers: &[Server]) -> String {
    let names: Vec<&str> = servers
        .iter()
        .map(|server| server.name().as_str())
        .collect();
    names.join(", ")
}

async fn rows(
    session: &Session,
    select: &str,
) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
    use tokio_postgres::SimpleQueryMessage::Row;
    let messages = session.simple_query(select).await?;
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            Row(row) => Some((text(row.get("id")), text(row.get("data")))),
            _ => None,
        })
        .collect())
}

/// The first value of the first row.
pub(crate) async fn first_value(
    session: &Session,
    query: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    let messages = session.simple_query(query).await?;
    Ok(messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

fn insert(table: &str, data: &str) -> String {
    format!("INSERT INTO {table} (data) VALUES ('{data}');")
}
