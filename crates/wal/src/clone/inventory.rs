//! What was received, held against what the manifest says.

use std::collections::HashMap;
use std::fmt;

use manada_wire::command::base_backup::ChecksumAlgorithm;
use manada_wire::entry_path::EntryPath;
use manada_wire::manifest::ManifestFile;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::CloneError;

/// The most files, directories and links that a clone may have: about 300 MB of memory for the
/// inventory, which a server can't exceed.
pub(super) const ENTRIES_MAX: usize = 2_000_000;

/// The files that were received.
#[derive(Debug)]
pub(super) struct Inventory {
    algorithm: ChecksumAlgorithm,
    files: HashMap<EntryPath, Received>,
}

#[derive(Debug)]
struct Received {
    bytes: u64,
    checksum: Box<[u8]>,
}

/// How a file differs from what the manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFault {
    /// Its bytes are others.
    Checksum,
    /// Its length is another.
    Length,
    /// It never came.
    Missing,
    /// It came, and the manifest does not know it.
    Unlisted,
    /// It came twice.
    Twice,
    /// The manifest has no checksum of the kind that was asked for.
    NoChecksum,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFault::Checksum => "its checksum differs",
            FileFault::Length => "its length differs",
            FileFault::Missing => "it never came",
            FileFault::Unlisted => "it is not in the list",
            FileFault::Twice => "it came twice",
            FileFault::NoChecksum => "the list has no checksum of the kind that was asked for",
        })
    }
}

impl Inventory {
    pub(super) fn new(algorithm: ChecksumAlgorithm) -> Self {
        Inventory {
            algorithm,
            files: HashMap::new(),
        }
    }

    pub(super) fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    pub(super) fn add(
        &mut self,
        path: EntryPath,
        bytes: u64,
        hasher: Hasher,
    ) -> Result<(), CloneError> {
        let checksum = hasher.finish();
        let received = Received { bytes, checksum };
        match self.files.insert(path.clone(), received) {
            None => Ok(()),
            Some(_) => Err(CloneError::file(path, FileFault::Twice)),
        }
    }

    /// Takes a file off the list that is as the manifest says.
    pub(super) fn check(&mut self, listed: ManifestFile) -> Result<(), CloneError> {
        let fault = |fault| Err(CloneError::file(listed.path.clone(), fault));
        let Some(received) = self.files.remove(&listed.path) else {
            return fault(FileFault::Missing);
        };
        let Some(checksum) = &listed.checksum else {
            return fault(FileFault::NoChecksum);
        };
        if checksum.algorithm != self.algorithm {
            return fault(FileFault::NoChecksum);
        }
        if received.bytes != listed.bytes {
            return fault(FileFault::Length);
        }
        if *received.checksum != *checksum.value {
            return fault(FileFault::Checksum);
        }
        Ok(())
    }

    /// Says that the manifest has ended: nothing may be left.
    pub(super) fn finish(self) -> Result<(), CloneError> {
        match self.files.into_keys().min() {
            None => Ok(()),
            Some(path) => Err(CloneError::file(path, FileFault::Unlisted)),
        }
    }
}

/// A checksum in the making.
#[derive(Debug)]
pub(super) enum Hasher {
    Crc32c(u32),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32c => Hasher::Crc32c(0),
            ChecksumAlgorithm::Sha224 => Hasher::Sha224(Sha224::new()),
            ChecksumAlgorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            ChecksumAlgorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Hasher::Sha224(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Box<[u8]> {
        match self {
            // PostgreSQL writes the CRC in the server's byte order, which is little-endian on
            // all that Manada runs with.
            Hasher::Crc32c(crc) => crc.to_le_bytes().into(),
            Hasher::Sha224(hasher) => hasher.finalize().as_slice().into(),
            Hasher::Sha256(hasher) => hasher.finalize().as_slice().into(),
            Hasher::Sha384(hasher) => hasher.finalize().as_slice().into(),
            Hasher::Sha512(hasher) => hasher.finalize().as_slice().into(),
        }
    }
}
