//! The file: made once, readable by its owner alone, and durable.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::Cause;
use crate::store::REQUEST_MAX;

/// How long a statement waits for another process's transaction.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(250);
const _: () = assert!(LOCK_WAIT_MAX.as_millis() < REQUEST_MAX.as_millis());
/// Marks the file as a store of Manada ("mnda"), in SQLite's header.
const APPLICATION_ID: i64 = 0x6d6e_6461;
/// The version of the tables, in SQLite's header.
const TABLES_VERSION: i64 = 1;
/// How often several agents that make the file at the same time try again.
const SETUP_TRIES_MAX: u32 = 20;
const SETUP_PAUSE: Duration = Duration::from_millis(50);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS record (
        herd TEXT PRIMARY KEY, revision INTEGER NOT NULL, value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS lease (herd TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS contact (
        herd TEXT NOT NULL, node TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (herd, node)
    ) STRICT;
";

/// Opens the file, and makes it first if it is not there.
pub(super) fn create(path: &Path) -> Result<Connection, Cause> {
    make_private(path).map_err(unusable)?;
    let mut tries = 1;
    loop {
        // SQLite does not wait for the lock that a change of the journal mode needs.
        match set_up(path) {
            Err(Cause::Sqlite(error)) if is_busy(&error) && tries < SETUP_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(SETUP_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Opens a file that is a store.
pub(super) fn connect(path: &Path) -> Result<Connection, Cause> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Cause::Sqlite)?;
    connection
        .busy_timeout(LOCK_WAIT_MAX)
        .map_err(Cause::Sqlite)?;
    // Each commit is on disk before it is acknowledged; in WAL mode that takes FULL.
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(Cause::Sqlite)?;
    Ok(connection)
}

/// SQLite gives its other files the same mode and, as root, the same owner.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Ok(file) => {
            file.sync_all()?;
            match path.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn unusable(error: io::Error) -> Cause {
    Cause::File(error)
}

fn set_up(path: &Path) -> Result<Connection, Cause> {
    let connection = connect(path)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(Cause::Sqlite)?;
    let application_id = number("application_id").map_err(Cause::Sqlite)?;
    if tables > 0 && application_id != APPLICATION_ID {
        return Err(Cause::Foreign);
    }
    let version = number("user_version").map_err(Cause::Sqlite)?;
    if version > TABLES_VERSION {
        return Err(Cause::Newer { version });
    }
    let prepare = || {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", TABLES_VERSION)
    };
    if version < TABLES_VERSION {
        prepare().map_err(Cause::Sqlite)?;
    }
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked)
    )
}
