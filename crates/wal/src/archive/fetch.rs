//! `restore_command`: one file out of the archive, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Cluster;
use super::header::{self, CheckError, SegmentError};
use super::label::{self, LabelError};
use super::name::{InvalidWalFileName, WalFileName};

/// What fetching came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file is where it was wanted.
    Delivered,
    /// The archive is there and has no such file.
    Absent,
}

/// It can't be told whether the archive has the file, or it could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a WAL file.
    #[error(transparent)]
    Name(#[from] InvalidWalFileName),
    /// The archive is not there, or another cluster's.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// An empty directory without a label proves nothing.
    #[error(
        "{} is empty and has no label, so it is no archive: is its file system mounted?",
        archive.display()
    )]
    NotAnArchive {
        /// The directory.
        archive: PathBuf,
    },
    /// What the archive has under the name is something else.
    #[error("{} is not delivered: {reason}", archived.display())]
    NotTheSegment {
        /// The file in the archive.
        archived: PathBuf,
        /// What is wrong with it.
        reason: SegmentError,
    },
    /// A file can't be read or written.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Delivers `name` (the server's `%f`) from the directory `archive` to `target` (its `%p`):
/// a segment exactly one segment long, under its name only when it is complete. What it
/// delivers, the server makes durable itself.
pub fn fetch(name: &str, target: &Path, archive: &Path) -> Result<Fetched, FetchError> {
    let name: WalFileName = name.parse()?;
    let cluster = Cluster::of_wal_file(target);
    let label = label::read(archive)?;
    if let (Some(found), Some(cluster)) = (label, cluster) {
        label::check(archive, found, cluster.system_identifier)?;
    }
    let archived = archive.join(name.to_string());
    let mut source = match File::open(&archived) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match label {
                Some(_) => Ok(Fetched::Absent),
                None => absent_without_label(archive),
            };
        }
        Err(error) => return Err(io_error("read", &archived)(error)),
    };
    header::check(&source, name, cluster).map_err(|error| match error {
        CheckError::Read(source) => io_error("read", &archived)(source),
        CheckError::Segment(reason) => FetchError::NotTheSegment {
            archived: archived.clone(),
            reason,
        },
    })?;
    deliver(&mut source, target)?;
    Ok(Fetched::Delivered)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_path_buf();
    move |source| FetchError::Io {
        action,
        path,
        source,
    }
}

/// An archive that something else fills has no label, but it has WAL files.
fn absent_without_label(archive: &Path) -> Result<Fetched, FetchError> {
    for entry in fs::read_dir(archive).map_err(io_error("list", archive))? {
        let entry = entry.map_err(io_error("list", archive))?;
        let is_wal = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.parse::<WalFileName>().is_ok());
        if is_wal {
            return Ok(Fetched::Absent);
        }
    }
    Err(FetchError::NotAnArchive {
        archive: archive.to_path_buf(),
    })
}

/// Copies beside the target, then renames. No link to the archive's own file: the server
/// overwrites and recycles what it gets.
fn deliver(source: &mut File, target: &Path) -> Result<(), FetchError> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".fetching");
    let beside = PathBuf::from(beside);
    let delivered = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| io::copy(source, &mut file))
        .and_then(|_| fs::rename(&beside, target));
    delivered.map_err(|error| {
        // Half a file only takes room; the next fetch would overwrite it.
        fs::remove_file(&beside).ok();
        io_error("write", target)(error)
    })
}
