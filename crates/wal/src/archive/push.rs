//! `archive_command`: one finished file into the archive, durable before success is said.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use manada_postgres::durable::sync_directory;

use super::Cluster;
use super::header::{self, CheckError, SegmentError};
use super::label::{self, LabelError};
use super::name::{InvalidWalFileName, WalFileName};
use super::temporary::Temporary;

/// What pushing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The file was not there; now it is.
    Stored,
    /// The same content was there already.
    AlreadyThere,
}

/// A file could not be archived. The server tries again and keeps it until then.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Not a WAL file.
    #[error(transparent)]
    Name(#[from] InvalidWalFileName),
    /// The archive's label forbids it, or can't be read or made.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The file is not what its name says.
    #[error("{} is not archived: {reason}", path.display())]
    NotTheSegment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: SegmentError,
    },
    /// Another content has that name.
    #[error(
        "{} and {} differ from byte {first_difference} on: two servers write to this archive, or one of them is damaged; neither was changed",
        path.display(),
        archived.display()
    )]
    Differs {
        /// The file to be archived.
        path: PathBuf,
        /// What the archive has.
        archived: PathBuf,
        /// The offset of the first byte that differs, or where the shorter one ends.
        first_difference: u64,
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

/// Archives the file at `path` (the server's `%p`) in the directory `archive`. When it returns
/// `Ok`, the bytes and the name survive a power cut.
pub fn push(path: &Path, archive: &Path) -> Result<Pushed, PushError> {
    let name: WalFileName = match path.file_name().and_then(|name| name.to_str()) {
        Some(text) => text.parse()?,
        None => return Err(InvalidWalFileName::new(&path.to_string_lossy()).into()),
    };
    let mut source = File::open(path).map_err(io_error("read", path))?;
    let cluster = Cluster::of_wal_file(path);
    let header = header::check(&source, name, cluster).map_err(|error| match error {
        CheckError::Read(source) => io_error("read", path)(source),
        CheckError::Segment(reason) => PushError::NotTheSegment {
            path: path.to_path_buf(),
            reason,
        },
    })?;
    let system_identifier = cluster
        .map(|cluster| cluster.system_identifier)
        .or(header.map(|header| header.system_identifier));
    match system_identifier {
        Some(system_identifier) => label::create(archive, system_identifier)?,
        // A history file by itself says nothing of its cluster.
        None => drop(label::read(archive)?),
    }

    let archived = archive.join(name.to_string());
    if archived.exists() {
        return compare(&mut source, path, &archived);
    }
    let write_error = || io_error("write", &archived);
    let mut temporary = Temporary::create(archive, &name.to_string()).map_err(write_error())?;
    io::copy(&mut source, temporary.file()).map_err(write_error())?;
    match temporary.publish() {
        Ok(()) => Ok(Pushed::Stored),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut source = File::open(path).map_err(io_error("read", path))?;
            compare(&mut source, path, &archived)
        }
        Err(error) => Err(write_error()(error)),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PushError {
    let path = path.to_path_buf();
    move |source| PushError::Io {
        action,
        path,
        source,
    }
}

/// Whether the archive has the same bytes under this name; makes sure they are durable: whoever
/// put them there may have been interrupted before saying so.
fn compare(source: &mut File, path: &Path, archived: &Path) -> Result<Pushed, PushError> {
    let mut there = File::open(archived).map_err(io_error("read", archived))?;
    let first_difference =
        first_difference(source, &mut there).map_err(io_error("compare with the archive", path))?;
    if let Some(first_difference) = first_difference {
        return Err(PushError::Differs {
            path: path.to_path_buf(),
            archived: archived.to_path_buf(),
            first_difference,
        });
    }
    there.sync_all().map_err(io_error("sync", archived))?;
    let archive = archived.parent().unwrap_or(Path::new("."));
    sync_directory(archive).map_err(io_error("sync", archive))?;
    Ok(Pushed::AlreadyThere)
}

fn first_difference(source: &mut File, archived: &mut File) -> io::Result<Option<u64>> {
    const CHUNK: usize = 256 * 1024;
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    loop {
        let length = fill(source, &mut left)?;
        let other_length = fill(archived, &mut right)?;
        let (one, other) = (&left[..length], &right[..other_length]);
        if one != other {
            let pairs = one.iter().zip(other);
            let same = pairs.take_while(|(one, other)| one == other).count();
            return Ok(Some(offset + same as u64));
        }
        if length < CHUNK {
            return Ok(None);
        }
        offset += length as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
