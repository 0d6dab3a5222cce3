//! What a node remembers of its herd, should the store lose it: the newest record that it knew, and
//! where the nodes were.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_core::record::{Record, Versioned};
use manada_postgres::replace_file::{FileOwner, replace_file};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::orders::with_causes;
use crate::peers::Book;

/// What the file says it is.
const FORMAT: &str = "manada.memory/1";

/// The file's name, in the directory of the agent.
const FILE: &str = "memory.json";

/// How long after a change it is written: not while a failover wants the disk, and once for the
/// changes that it makes.
const WRITTEN_AFTER: Duration = Duration::from_secs(1);

/// What a node remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) record: Versioned<Record>,
    pub(crate) book: Book,
}

/// Where it lies. It may be older than what the node knew last, or be missing: nothing that has to
/// be certain rests on it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFile {
    path: PathBuf,
    owner: FileOwner,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: String,
    #[serde(flatten)]
    memory: Memory,
}

impl MemoryFile {
    pub(crate) fn in_directory(directory: &Path, owner: FileOwner) -> MemoryFile {
        MemoryFile {
            path: directory.join(FILE),
            owner: owner.with_mode(0o600),
        }
    }

    /// What was written last, if it is there and is what was written.
    pub(crate) fn read(&self) -> Option<Memory> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%path, %error, "what was remembered of the herd can't be read");
                return None;
            }
        };
        match serde_json::from_str::<Written>(&text) {
            Ok(written) if written.format == FORMAT => Some(written.memory),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%path, %error, "what was remembered of the herd is damaged");
                None
            }
        }
    }

    /// Blocks.
    fn write(&self, memory: Memory) -> Result<(), String> {
        let format = FORMAT.to_owned();
        let written = Written { format, memory };
        let text = serde_json::to_string(&written).expect("own types have string keys");
        let replaced = replace_file(&self.path, &format!("{text}\n"), self.owner);
        replaced.map_err(|error| with_causes(&error))
    }

    /// Writes what is known a little after each change, for as long as somebody tells of changes.
    pub(crate) async fn keep(self, mut known: watch::Receiver<Option<Memory>>) {
        while known.changed().await.is_ok() {
            tokio::time::sleep(WRITTEN_AFTER).await;
            let Some(memory) = known.borrow_and_update().clone() else {
                continue;
            };
            let file = self.clone();
            match tokio::task::spawn_blocking(move || file.write(memory)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error, "the herd's record can't be remembered"),
                Err(error) => tracing::warn!(%error, "the herd's record can't be remembered"),
            }
        }
    }
}
