//! What the configuration files say, and what roles and databases set for themselves.

use manada_postgres::Session;

use super::gather::rows;
use super::source::{Fact, Source};

/// An entry of a configuration file, also one without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The file.
    pub path: String,
    /// The line.
    pub line: u32,
    /// Its place in the order in which entries are read; the last of a name wins.
    pub order: u32,
    /// The setting; none where the line could not be read.
    pub name: Option<String>,
    /// Its value as written; none where it may hold a secret.
    pub value: Option<String>,
    /// Why it can't be applied.
    pub error: Option<String>,
}

/// A setting that a role or a database has for its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSetting {
    /// The role; all where none is said.
    pub role: Option<String>,
    /// The database; all where none is said.
    pub database: Option<String>,
    /// The setting.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FileEntry {
    pub(super) async fn read(session: &Session) -> Fact<Vec<FileEntry>> {
        let sql = "
            SELECT sourcefile, sourceline, seqno, name, error,
                   CASE WHEN name !~ 'conninfo|passphrase|_command$' THEN setting END AS value
            FROM pg_file_settings ORDER BY seqno";
        rows(session, Source::ConfigFiles, sql, |row| FileEntry {
            path: row.get::<_, Option<_>>("sourcefile").unwrap_or_default(),
            line: row
                .get::<_, Option<i32>>("sourceline")
                .map_or(0, i32::unsigned_abs),
            order: row
                .get::<_, Option<i32>>("seqno")
                .map_or(0, i32::unsigned_abs),
            name: row.get("name"),
            value: row.get("value"),
            error: row.get("error"),
        })
        .await
        .into()
    }
}

impl RoleSetting {
    pub(super) async fn read(session: &Session) -> Fact<Vec<RoleSetting>> {
        let sql = "
            SELECT r.rolname::text AS role, d.datname::text AS database,
                   split_part(entry, '=', 1) AS name,
                   substr(entry, strpos(entry, '=') + 1) AS value
            FROM pg_db_role_setting s
            LEFT JOIN pg_roles r ON r.oid = s.setrole
            LEFT JOIN pg_database d ON d.oid = s.setdatabase,
            unnest(s.setconfig) AS entry
            ORDER BY 1 NULLS FIRST, 2 NULLS FIRST, 3";
        rows(session, Source::RoleSettings, sql, |row| RoleSetting {
            role: row.get("role"),
            database: row.get("database"),
            name: row.get("name"),
            value: row.get("value"),
        })
        .await
        .into()
    }
}
