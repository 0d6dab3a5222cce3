//! The databases: their age, their collation's version, and the tables that are not replicated.

use manada_postgres::Session;

use super::gather::{Target, rows};
use super::source::{Fact, Source, Why};

/// More databases than these are not entered one by one.
const ENTERED_MAX: usize = 32;

/// How many names of tables are kept as examples.
const EXAMPLES_MAX: i64 = 5;

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Whether sessions are allowed.
    pub allows_sessions: bool,
    /// How many transactions ago its oldest row version that is not frozen was written.
    pub xid_age: u64,
    /// The version of the collation's library that its indexes were made with.
    pub collation_recorded: Option<String>,
    /// The version of the library that this host has.
    pub collation_here: Option<String>,
}

/// The unlogged tables of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlogged {
    /// The database.
    pub database: String,
    /// How many.
    pub count: u64,
    /// The largest, as examples.
    pub examples: Vec<String>,
}

impl Database {
    pub(super) async fn read(session: &Session) -> Fact<Vec<Database>> {
        let sql = "
            SELECT datname::text AS name, datallowconn, age(datfrozenxid)::int8 AS xid_age,
                   datcollversion AS recorded,
                   pg_database_collation_actual_version(oid) AS here
            FROM pg_database ORDER BY 1";
        rows(session, Source::Databases, sql, |row| Database {
            name: row.get("name"),
            allows_sessions: row.get("datallowconn"),
            xid_age: row.get::<_, i64>("xid_age").try_into().unwrap_or(0),
            collation_recorded: row.get("recorded"),
            collation_here: row.get("here"),
        })
        .await
        .into()
    }
}

impl Unlogged {
    /// Enters each database that allows it.
    pub(super) async fn read(
        target: &Target,
        databases: &Fact<Vec<Database>>,
    ) -> Vec<Fact<Unlogged>> {
        let databases = match databases.get() {
            Ok(databases) => databases,
            Err(unknown) => return vec![Err(unknown).into()],
        };
        let mut read = Vec::new();
        let entered = databases.iter().filter(|database| database.allows_sessions);
        for (index, database) in entered.enumerate() {
            if index == ENTERED_MAX {
                let why = format!("only the first {ENTERED_MAX} databases were entered");
                read.push(Fact::unknown(Source::Relations, Why::Failed(why)));
                break;
            }
            read.push(Unlogged::read_one(target, &database.name).await);
        }
        read
    }

    async fn read_one(target: &Target, database: &str) -> Fact<Unlogged> {
        let conninfo = target.conninfo.clone().with_dbname(database);
        let session = match target.open(conninfo).await {
            Ok(session) => session,
            Err(error) => {
                return Fact::unknown(Source::Relations, Why::Failed(error.to_string()));
            }
        };
        let sql = format!(
            "SELECT count(*) OVER () AS count, format('%I.%I', nspname, relname) AS name
             FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
             WHERE relpersistence = 'u' AND relkind IN ('r', 'm')
             ORDER BY relpages DESC, 2 LIMIT {EXAMPLES_MAX}"
        );
        let read = rows(&session, Source::Relations, &sql, |row| {
            (row.get::<_, i64>("count"), row.get::<_, String>("name"))
        })
        .await;
        Fact::from(read).map(|tables| Unlogged {
            database: database.to_owned(),
            count: tables.first().map_or(0, |(count, _)| count.unsigned_abs()),
            examples: tables.into_iter().map(|(_, name)| name).collect(),
        })
    }
}
