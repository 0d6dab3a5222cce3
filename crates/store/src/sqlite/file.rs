//! The file: made where it is not there, readable by its owner alone, and durable.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
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

/// Which file a path leads to: another one, where it was deleted and made anew, or put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// A connection, and the file that it is to.
pub(super) struct Opened {
    pub(super) connection: Connection,
    identity: Identity,
}

impl Opened {
    /// Whether the path leads to that file still. Whoever has a deleted file open goes on writing
    /// into it, and nobody reads it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        identity(path).is_ok_and(|now| now == Some(self.identity))
    }
}

/// Opens the file, and makes it first if it is not there: it is then a store without a record.
pub(super) fn open(path: &Path) -> Result<Opened, Cause> {
    for _ in 0..SETUP_TRIES_MAX {
        let Some(before) = identity(path).map_err(Cause::File)? else {
            create(path)?;
            continue;
        };
        let connection = connect(path)?;
        // Whoever made it may have come no further.
        if number(&connection, "user_version")? == 0 {
            create(path)?;
            continue;
        }
        if identity(path).map_err(Cause::File)? == Some(before) {
            return Ok(Opened {
                connection,
                identity: before,
            });
        }
    }
    Err(Cause::Moving)
}

fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(Some(Identity {
            device: file.dev(),
            inode: file.ino(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the file if it is not there, and sees to it that it is a store.
pub(super) fn create(path: &Path) -> Result<(), Cause> {
    make_private(path).map_err(Cause::File)?;
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
fn connect(path: &Path) -> Result<Connection, Cause> {
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
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    // Held until the end of this function, so that of several agents that miss the file none takes
    // away what another has made.
    let directory = File::open(directory)?;
    directory.lock()?;
    if path.exists() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    // What a deleted file has left would be taken for the new one's.
    for rest in ["-wal", "-shm"] {
        remove_if_there(&beside(path, rest))?;
    }
    options.open(path)?.sync_all()?;
    directory.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn set_up(path: &Path) -> Result<(), Cause> {
    let connection = connect(path)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(Cause::Sqlite)?;
    let application_id = number(&connection, "application_id")?;
    if tables > 0 && application_id != APPLICATION_ID {
        return Err(Cause::Foreign);
    }
    let version = number(&connection, "user_version")?;
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
    Ok(())
}

/// A number in the file's header.
fn number(connection: &Connection, name: &str) -> Result<i64, Cause> {
    let value = connection.pragma_query_value(None, name, |row| row.get(0));
    value.map_err(Cause::Sqlite)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked)
    )
}
