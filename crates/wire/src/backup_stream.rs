//! The copy stream of `BASE_BACKUP`: archives, then the manifest.

use bytes::Bytes;

use crate::body::Body;
use crate::frame::DecodeError;

/// What one CopyData message of a base backup says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupMessage {
    /// `n`: what follows belongs to a new archive.
    NewArchive {
        /// Which one.
        archive: Archive,
        /// Where the tablespace lies on the server; empty for the data directory.
        location: Bytes,
    },
    /// `m`: what follows is the manifest.
    Manifest,
    /// `d`: bytes of the archive or the manifest.
    Data(Bytes),
    /// `p`: how many bytes the server has done.
    Progress(u64),
}

/// One of a base backup's archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Archive {
    /// The data directory; the last to come.
    Base,
    /// A tablespace, by its object id.
    Tablespace(u32),
}

/// A base backup's stream holds what none should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupStreamError {
    /// The message is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An archive that is neither `base.tar` nor a tablespace's.
    #[error("the server began an archive with the unknown name {name:?}")]
    UnknownArchive {
        /// Its name, shortened.
        name: String,
    },
}

/// How much of a wrong name an error repeats, in bytes.
const NAME_SHOWN_BYTES: usize = 80;

impl BackupMessage {
    /// Decodes what a CopyData message holds.
    ///
    /// # Errors
    /// It is none of the four.
    pub fn decode(copy_data: Bytes) -> Result<Self, BackupStreamError> {
        let mut body = Body::new("base backup", copy_data);
        let message = match body.u8()? {
            b'd' => BackupMessage::Data(body.rest()),
            b'n' => {
                let name = body.cstr()?;
                let location = body.cstr()?;
                let archive =
                    Archive::parse(&name).ok_or_else(|| BackupStreamError::UnknownArchive {
                        name: String::from_utf8_lossy(&name[..name.len().min(NAME_SHOWN_BYTES)])
                            .into_owned(),
                    })?;
                BackupMessage::NewArchive { archive, location }
            }
            b'm' => BackupMessage::Manifest,
            b'p' => BackupMessage::Progress(body.u64()?),
            other => return Err(body.unknown("kind", other).into()),
        };
        body.end()?;
        Ok(message)
    }
}

impl Archive {
    /// `base.tar`, or `OID.tar`.
    fn parse(name: &[u8]) -> Option<Self> {
        let stem = name.strip_suffix(b".tar")?;
        if stem == b"base" {
            return Some(Archive::Base);
        }
        let digits = stem.iter().all(u8::is_ascii_digit);
        let oid = std::str::from_utf8(stem).ok()?.parse().ok()?;
        (digits && oid != 0).then_some(Archive::Tablespace(oid))
    }
}
