//! A directory of finished WAL: what `archive_command` puts there and `restore_command` takes.
//!
//! Each file is written once: durable under its name before the server is told so, never
//! replaced, never half there. A label ([`create`]) ties the directory to one cluster and tells
//! an archive from the empty directory that is left when a file system is not mounted.
//!
//! # Exit codes
//! The server reads a `restore_command`'s exit code as: 0 delivered; 1 to 125 *not in the
//! archive*, which ends a recovery; above 125 a failure, which stops the server. So [`EXIT_ABSENT`]
//! is for proven absence alone, and whatever else goes wrong is [`EXIT_FETCH_FAILED`]. A standby is
//! told the former in either case ([`is_for_standby`]): it asks its primary then. An
//! `archive_command` only has to exit with 0 when the file is safe.
//!
//! Sources: `RestoreArchivedFile` in `xlogarchive.c`, `pgarch.c`, and the manual's "Continuous
//! Archiving and Point-in-Time Recovery".

mod fetch;
mod header;
mod label;
mod name;
mod push;
mod received;
mod temporary;

pub use fetch::{FetchError, Fetched, fetch};
pub use header::SegmentError;
pub use label::{LabelError, create};
pub use name::{InvalidWalFileName, WalFileName};
pub use push::{PushError, Pushed, push};
pub use received::archive_received;

/// `restore_command`'s exit code for a delivered file.
pub const EXIT_DELIVERED: u8 = 0;

/// `restore_command`'s exit code for a file that is proven not to be in the archive.
pub const EXIT_ABSENT: u8 = 1;

/// Whether a file that is wanted at `target` (the server's `%p`) is for a standby. What the archive
/// does not have, that one gets from its primary, and it never ends its recovery by itself; if it were
/// stopped instead, no standby could start while its archive is away.
pub fn is_for_standby(target: &Path) -> bool {
    let wal_directory = target.parent().unwrap_or(Path::new(""));
    wal_directory.join("../standby.signal").exists()
}

/// `restore_command`'s exit code for everything else. Below 128 a shell and above it signals
/// have meanings of their own; 200 has none.
pub const EXIT_FETCH_FAILED: u8 = 200;

/// `archive_command`'s exit code for a file that is to be kept, and not tried again at once.
///
/// Above 125 the archiver ends, and is started anew when the postmaster next does something, ten
/// seconds later at the earliest. After any smaller code it
/// tries thrice, a second apart, and a server that is stopped waits for that: a switchover would
/// take so much longer.
///
/// Source: `pgarch_archiveXlog` in `pgarch.c`, from 16 on `shell_archive.c`.
pub const EXIT_NOT_NOW: u8 = 201;

const _: () = assert!(EXIT_NOT_NOW > 125);
const _: () = assert!(EXIT_ABSENT >= 1 && EXIT_ABSENT <= 125 && EXIT_FETCH_FAILED > 125);

use std::path::Path;

use manada_model::SystemIdentifier;
use manada_postgres::control_file::ControlFile;

/// What is known of the cluster whose `pg_wal` a path lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cluster {
    system_identifier: SystemIdentifier,
    wal_segment_bytes: u32,
}

impl Cluster {
    /// The cluster of `…/pg_wal/FILE`, a path relative to the data directory included, as the
    /// server gives it. `None` where there is no readable control file: such a file is not
    /// checked against its cluster.
    fn of_wal_file(path: &Path) -> Option<Cluster> {
        let wal_directory = path.parent()?;
        if wal_directory.file_name()? != "pg_wal" {
            return None;
        }
        let data_directory = match wal_directory.parent()? {
            here if here.as_os_str().is_empty() => Path::new("."),
            elsewhere => elsewhere,
        };
        let file = ControlFile::read(data_directory).ok()?;
        Some(Cluster {
            system_identifier: file.system_identifier,
            wal_segment_bytes: file.wal_segment_bytes,
        })
    }
}
