//! The gate: what the access rules say, and whether finished WAL may be archived.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use manada_core::server::Gate;
use manada_herd::{Door, protection};

/// The access rules' last known state; they are read again when the file has changed.
#[derive(Debug, Default)]
pub(super) struct GateFile {
    known: Option<(FileState, Gate)>,
}

/// What tells one content of a file that is replaced whole from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

impl GateFile {
    /// What the file says. One that can't be read lets nobody in that the server has not let in
    /// before: then the gate counts as open, the state of which less is believed.
    pub(super) fn read(&mut self, hba_file: &Path) -> Gate {
        let state = std::fs::metadata(hba_file).ok().map(|file| FileState {
            inode: file.ino(),
            bytes: file.size(),
            changed_at: (file.ctime(), file.ctime_nsec()),
        });
        if let (Some((known, gate)), Some(state)) = (self.known, state)
            && known == state
        {
            return gate;
        }
        let gate = match protection::door(hba_file) {
            Ok(Door::Closed) => Gate::Closed,
            Ok(Door::Open) => Gate::Open,
            Err(error) => {
                tracing::warn!(%error, "whether the gate is open can't be told");
                return Gate::Open;
            }
        };
        self.known = state.map(|state| (state, gate));
        gate
    }
}
