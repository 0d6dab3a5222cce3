//! What is to be cloned, from where, to where.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use manada_model::{SlotName, SystemIdentifier};
use manada_postgres::Conninfo;
use manada_postgres::os_user::OsUser;
use manada_postgres::transport::Peer;
use manada_wire::entry_path::EntryPath;

use super::flusher::Flusher;
use super::staging::Staging;
use super::{Checkpoint, ChecksumAlgorithm, CloneError, TransferRate};

/// What `backup_label` says where nothing else is asked for.
const LABEL: &str = "manada clone";

/// A clone to be made.
pub struct CloneRequest {
    /// The server to clone. Its role needs `REPLICATION`.
    pub source: Conninfo,
    /// The operating system's user to appear as on a Unix socket.
    pub peer: Option<Peer>,
    /// The data directory to be. It must not exist, or be an empty directory; its parent must
    /// exist.
    pub target: PathBuf,
    /// Who shall own everything; us where it is `None`.
    pub owner: Option<OsUser>,
    /// The slot that holds the WAL meanwhile, and until the new server comes for it.
    pub slot: CloneSlot,
    /// The cluster it must be; any where it is `None`.
    pub system_identifier: Option<SystemIdentifier>,
    /// How the server's checkpoint is made.
    pub checkpoint: Checkpoint,
    /// The most the server sends in a second.
    pub rate_max: Option<TransferRate>,
    /// How each file is verified.
    pub checksums: ChecksumAlgorithm,
    /// Where tablespaces go.
    pub tablespaces: Vec<TablespaceMapping>,
    /// What `backup_label` will say it is for.
    pub label: String,
    /// Makes the files that shall be in place when the directory gets its name.
    pub configure: Option<Configure>,
}

/// Looks at the verified data directory, which does not have its name yet, and says which files
/// to place in it: settings, `standby.signal`. Reading is all it may do there.
pub type Configure =
    Box<dyn FnOnce(&Path) -> Result<Vec<ExtraFile>, Box<dyn Error + Send + Sync>> + Send + Sync>;

impl CloneRequest {
    /// A clone of `source` at `target`, on `slot`: fast checkpoint, CRC-32C, no limit of rate.
    pub fn new(source: Conninfo, target: impl Into<PathBuf>, slot: CloneSlot) -> Self {
        CloneRequest {
            source,
            peer: None,
            target: target.into(),
            owner: None,
            slot,
            system_identifier: None,
            checkpoint: Checkpoint::Fast,
            rate_max: None,
            checksums: ChecksumAlgorithm::Crc32c,
            tablespaces: Vec::new(),
            label: LABEL.to_owned(),
            configure: None,
        }
    }
}

impl fmt::Debug for CloneRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloneRequest")
            .field("source", &self.source)
            .field("target", &self.target)
            .field("owner", &self.owner)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// The slot that holds WAL for a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloneSlot {
    /// Make it; take it where it exists already. It stays when the clone is complete, and goes
    /// when the clone fails, if this attempt made it.
    Create(SlotName),
    /// It exists.
    Existing(SlotName),
    /// One that ends with the connection: the clone will be on its own.
    Temporary,
}

/// Where a tablespace goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablespaceMapping {
    /// Its place on the source.
    pub from: PathBuf,
    /// Its place here: absolute, absent or empty.
    pub to: PathBuf,
}

/// A file to be placed in the clone. It replaces one that is there.
#[derive(Clone)]
pub struct ExtraFile {
    /// Where, relative to the data directory.
    pub path: String,
    /// What it holds.
    pub contents: Vec<u8>,
}

impl fmt::Debug for ExtraFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtraFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Writes a file of the caller's with the clone's permissions and owner.
pub(super) fn place(
    file: &ExtraFile,
    staging: &Staging,
    flusher: &mut Flusher,
) -> Result<(), CloneError> {
    let path = EntryPath::parse(file.path.as_bytes())?;
    let path = staging.data().join(path.as_path());
    let failed = |source| CloneError::io("writing", &path, source);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut handle = staging.placement().create_file(&path, 0)?;
    handle.write_all(&file.contents).map_err(failed)?;
    flusher.flush(path.clone(), handle)
}
