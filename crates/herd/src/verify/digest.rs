//! Whether the data themselves are equal: every user table of every database, at one LSN.

use std::time::Duration;

use manada_model::Lsn;
use manada_postgres::Session;
use manada_postgres::session::{ConnectError, server_message};

use super::moment::{self, MomentError, Server};
use super::{Asked, VerifyError};
use crate::probe::{Probe, ask};
use crate::survey::Way;

/// How long a moment is looked for that all servers have in common.
const MOMENT_WITHIN: Duration = Duration::from_secs(30);

/// What makes the text of a row the same everywhere, whatever the roles' and databases' own
/// settings are; and lets a server notice at once that nobody waits for its answer any more.
const CANONICAL: &str = "\
SET search_path = pg_catalog; SET row_security = off; SET DateStyle = 'ISO, YMD'; \
SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 1; \
SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmlbinary = 'base64'; \
SET statement_timeout = 0; SET client_connection_check_interval = '1s'";

/// User tables and sequences, as the snapshot sees them.
const RELATIONS: &str = "\
SELECT format('%I.%I', nspname, relname), relkind, relpersistence, relispopulated, \
  coalesce((SELECT seqincrement > 0 FROM pg_sequence WHERE seqrelid = c.oid), true) \
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace \
WHERE relkind IN ('r', 'm', 'f', 'S') AND relpersistence <> 't' \
  AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_toast' \
ORDER BY 1";

/// Databases that take connections.
const DATABASES: &str =
    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";

/// One database, compared.
#[derive(Clone, Debug)]
pub struct DatabaseDigest {
    /// Its name.
    pub database: String,
    /// The comparison, or why there is none.
    pub outcome: Result<Comparison, UnreadDatabase>,
}

/// A database could not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadDatabase {
    /// Why.
    pub reason: String,
}

/// What comparing a database showed.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The primary's position all servers were read at.
    pub lsn: Lsn,
    /// Tables that were compared.
    pub tables: u64,
    /// Their rows on the primary.
    pub rows: u64,
    /// Sequences that were compared.
    pub sequences: u64,
    /// Tables whose contents differ.
    pub differences: Vec<Difference>,
    /// Sequences of a standby that would give a value again.
    pub sequences_behind: Vec<SequenceBehind>,
    /// What a server could not be asked for.
    pub unread: Vec<Unread>,
    /// What was left out, knowingly.
    pub skipped: Vec<SkippedTable>,
}

/// A table whose contents differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table, quoted as SQL has it.
    pub table: String,
    /// The standby.
    pub standby: String,
    /// Rows on the primary.
    pub primary_rows: u64,
    /// Rows on the standby.
    pub standby_rows: u64,
}

/// A sequence that is further on the primary than on a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceBehind {
    /// The sequence.
    pub sequence: String,
    /// The standby.
    pub standby: String,
    /// The last value on the primary.
    pub primary_value: i64,
    /// The last value on the standby: after a promotion, values up to the primary's come again.
    pub standby_value: i64,
}

/// A table or sequence that a server did not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The table or sequence.
    pub relation: String,
    /// The server.
    pub server: String,
    /// Its word.
    pub reason: String,
}

/// A table that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedTable {
    /// The table.
    pub table: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a table is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// Unlogged tables are empty on standbys, by design.
    Unlogged,
    /// Its rows are on another server.
    Foreign,
    /// A materialized view that was never filled.
    NotPopulated,
}

impl DatabaseDigest {
    /// Whether all that was compared is equal, and all could be.
    pub fn holds(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|comparison| {
            comparison.differences.is_empty()
                && comparison.sequences_behind.is_empty()
                && comparison.unread.is_empty()
        })
    }
}

/// A database could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// No session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No moment that all servers have in common.
    #[error(transparent)]
    Moment(#[from] MomentError),
    /// The list of tables can't be read.
    #[error("the list of tables could not be read: {}", server_message(source))]
    Relations {
        /// The server's word.
        source: tokio_postgres::Error,
    },
}

/// Compares every database of the primary with the standbys.
pub(super) async fn all_databases(
    way: &Way,
    primary: &str,
    standbys: &[Asked<'_>],
    limit: Duration,
) -> Result<Vec<DatabaseDigest>, VerifyError> {
    let session = way.open().await?;
    let rows = ask(&session, DATABASES).await;
    let rows = rows.map_err(|source| VerifyError::Databases {
        primary: primary.to_owned(),
        source,
    })?;
    let mut probe = Probe::open(way).await?;
    let mut digests = Vec::new();
    for database in rows.into_iter().flatten() {
        let compared = compare(&mut probe, way, primary, standbys, &database, limit).await;
        digests.push(DatabaseDigest {
            outcome: compared.map_err(|error| UnreadDatabase {
                reason: error.to_string(),
            }),
            database,
        });
    }
    Ok(digests)
}

struct Relation {
    name: String,
    kind: Kind,
}

enum Kind {
    Table,
    Sequence { ascending: bool },
    Skipped(SkipReason),
}

async fn compare(
    probe: &mut Probe,
    way: &Way,
    primary: &str,
    standbys: &[Asked<'_>],
    database: &str,
    limit: Duration,
) -> Result<Comparison, DigestError> {
    let session = open(way, database).await?;
    let opening = standbys.iter().map(|standby| open(standby.way, database));
    let sessions = futures_util::future::try_join_all(opening).await?;
    let primary = Server {
        name: primary,
        session: &session,
    };
    let followers: Vec<Server<'_>> = standbys
        .iter()
        .zip(&sessions)
        .map(|(standby, session)| Server {
            name: &standby.name,
            session,
        })
        .collect();
    let lsn = moment::share(probe, primary, &followers, MOMENT_WITHIN).await?;
    let relations = relations(&session).await?;
    let mut comparison = Comparison {
        lsn,
        tables: 0,
        rows: 0,
        sequences: 0,
        differences: Vec::new(),
        sequences_behind: Vec::new(),
        unread: Vec::new(),
        skipped: Vec::new(),
    };
    for relation in &relations {
        match relation.kind {
            Kind::Table => {
                comparison
                    .table(&relation.name, primary, &followers)
                    .await?
            }
            Kind::Skipped(reason) => comparison.skipped.push(SkippedTable {
                table: relation.name.clone(),
                reason,
            }),
            Kind::Sequence { .. } => {}
        }
    }
    for server in followers.iter().chain([&primary]) {
        moment::rollback(*server).await?;
    }
    comparison
        .sequences(probe, &relations, primary, &followers, limit)
        .await?;
    Ok(comparison)
}

async fn open(way: &Way, database: &str) -> Result<Session, DigestError> {
    let way = Way {
        conninfo: way.conninfo.clone().with_dbname(database),
        peer: way.peer,
    };
    let session = way.open().await?;
    let settled = session.batch_execute(CANONICAL).await;
    settled.map_err(|source| DigestError::Relations { source })?;
    Ok(session)
}

async fn relations(session: &Session) -> Result<Vec<Relation>, DigestError> {
    let rows = ask(session, RELATIONS).await;
    let rows = rows.map_err(|source| DigestError::Relations { source })?;
    let relation = |row: Vec<String>| {
        let [name, kind, persistence, populated, ascending] = <[String; 5]>::try_from(row).ok()?;
        let kind = match (kind.as_str(), persistence.as_str()) {
            ("f", _) => Kind::Skipped(SkipReason::Foreign),
            (_, "u") => Kind::Skipped(SkipReason::Unlogged),
            ("S", _) => Kind::Sequence {
                ascending: ascending == "t",
            },
            ("m", _) if populated != "t" => Kind::Skipped(SkipReason::NotPopulated),
            _ => Kind::Table,
        };
        Some(Relation { name, kind })
    };
    Ok(rows.into_iter().filter_map(relation).collect())
}

/// Asks one server within its transaction. A failure is put aside, with what was asked, and the
/// transaction goes on.
async fn read(
    server: Server<'_>,
    relation: &str,
    sql: &str,
) -> Result<Result<Vec<String>, Unread>, MomentError> {
    let query = |source| MomentError::Query {
        server: server.name.to_owned(),
        source,
    };
    let guarded = format!("SAVEPOINT manada_verify; {sql}; RELEASE manada_verify");
    let rows = match ask(server.session, &guarded).await {
        Ok(rows) => Ok(rows.into_iter().next().unwrap_or_default()),
        Err(error) => {
            let back = server
                .session
                .batch_execute("ROLLBACK TO manada_verify; RELEASE manada_verify");
            back.await.map_err(query)?;
            Err(Unread {
                relation: relation.to_owned(),
                server: server.name.to_owned(),
                reason: server_message(&error),
            })
        }
    };
    Ok(rows)
}

impl Comparison {
    async fn table(
        &mut self,
        table: &str,
        primary: Server<'_>,
        standbys: &[Server<'_>],
    ) -> Result<(), MomentError> {
        // The sum of the rows' hashes does not depend on their order, and needs no key.
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended((manada_row.*)::text, 0)), 0) \
             FROM ONLY {table} AS manada_row"
        );
        let reading = [&primary].into_iter().chain(standbys);
        let reading = reading.map(|server| read(*server, table, &sql));
        let mut answers = futures_util::future::try_join_all(reading)
            .await?
            .into_iter();
        let own = match answers.next() {
            Some(Ok(own)) => own,
            Some(Err(unread)) => {
                self.unread.push(unread);
                return Ok(());
            }
            None => return Ok(()),
        };
        self.tables += 1;
        self.rows += rows_of(&own);
        for (standby, answer) in standbys.iter().zip(answers) {
            match answer {
                Err(unread) => self.unread.push(unread),
                Ok(theirs) if theirs == own => {}
                Ok(theirs) => self.differences.push(Difference {
                    table: table.to_owned(),
                    standby: standby.name.to_owned(),
                    primary_rows: rows_of(&own),
                    standby_rows: rows_of(&theirs),
                }),
            }
        }
        Ok(())
    }

    /// A sequence runs ahead in the WAL (32 values at a time), so a standby's is at or beyond the
    /// primary's. Sequences are not transactional: the primary's are read first, then the standbys'
    /// once they have replayed up to there.
    async fn sequences(
        &mut self,
        probe: &mut Probe,
        relations: &[Relation],
        primary: Server<'_>,
        standbys: &[Server<'_>],
        limit: Duration,
    ) -> Result<(), MomentError> {
        let sequences: Vec<(&str, bool)> = relations
            .iter()
            .filter_map(|relation| match relation.kind {
                Kind::Sequence { ascending } => Some((relation.name.as_str(), ascending)),
                Kind::Table | Kind::Skipped(_) => None,
            })
            .collect();
        let mut own = Vec::new();
        for (sequence, ascending) in sequences {
            if let Some(value) = self.last_value(primary, sequence).await? {
                own.push((sequence, ascending, value));
            }
        }
        self.sequences = own.len() as u64;
        if own.is_empty() {
            return Ok(());
        }
        let reached = moment::wait_for_replay(probe, primary, standbys, limit).await?;
        for (standby, reached) in standbys.iter().zip(reached) {
            if !reached {
                self.unread.push(Unread {
                    relation: "sequences".to_owned(),
                    server: standby.name.to_owned(),
                    reason: format!(
                        "it did not replay up to them within {} s",
                        limit.as_secs_f32()
                    ),
                });
                continue;
            }
            for (sequence, ascending, primary_value) in &own {
                let Some(standby_value) = self.last_value(*standby, sequence).await? else {
                    continue;
                };
                let behind = if *ascending {
                    standby_value < *primary_value
                } else {
                    standby_value > *primary_value
                };
                if behind {
                    self.sequences_behind.push(SequenceBehind {
                        sequence: (*sequence).to_owned(),
                        standby: standby.name.to_owned(),
                        primary_value: *primary_value,
                        standby_value,
                    });
                }
            }
        }
        Ok(())
    }

    /// A sequence's last value; `None` where it can't be read, which is put aside.
    async fn last_value(
        &mut self,
        server: Server<'_>,
        sequence: &str,
    ) -> Result<Option<i64>, MomentError> {
        let sql = format!("SELECT last_value FROM {sequence}");
        let rows = ask(server.session, &sql).await;
        let value = match rows {
            Ok(rows) => rows
                .into_iter()
                .flatten()
                .next()
                .and_then(|text| text.parse().ok()),
            Err(error) => {
                self.unread.push(Unread {
                    relation: sequence.to_owned(),
                    server: server.name.to_owned(),
                    reason: server_message(&error),
                });
                None
            }
        };
        Ok(value)
    }
}

fn rows_of(answer: &[String]) -> u64 {
    answer
        .first()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}
