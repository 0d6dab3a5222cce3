//! The promise on disk: durable before anything that follows from it is said.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use manada_core::server::Promise;
use manada_postgres::replace_file::{FileOwner, ReplaceFileError, replace_file};
use serde::{Deserialize, Serialize};

/// What the file says it is.
const FORMAT: &str = "manada.promise/1";

/// Where a node's promise lies.
#[derive(Clone, Debug)]
pub struct PromiseFile {
    path: PathBuf,
    owner: FileOwner,
}

/// A node's promise can't be read or kept. Without it a node must not act.
#[derive(Debug, thiserror::Error)]
pub enum PromiseError {
    /// It was made, and is gone.
    #[error(
        "{} is missing: what this node has promised can't be known any more, so it may not take \
         part; remove the node and join it anew",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written.
    #[error(
        "{} is damaged ({reason}): what this node has promised can't be known any more, so it may \
         not take part; remove the node and join it anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        reason: String,
    },
    /// It can't be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// It can't be made durable.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    promise: Promise,
}

impl PromiseFile {
    /// The promise of the node whose agent keeps its files in `directory`.
    pub fn in_directory(directory: &Path, owner: FileOwner) -> PromiseFile {
        PromiseFile {
            path: directory.join("promise.json"),
            owner: owner.with_mode(0o600),
        }
    }

    /// What was promised last.
    pub fn read(&self) -> Result<Promise, PromiseError> {
        let path = self.path.clone();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PromiseError::Missing { path });
            }
            Err(source) => return Err(PromiseError::Read { path, source }),
        };
        let damaged = |reason: String| PromiseError::Damaged {
            path: self.path.clone(),
            reason,
        };
        let written: Written =
            serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if written.format != FORMAT {
            return Err(damaged(format!("its format is {:?}", written.format)));
        }
        Ok(written.promise)
    }

    /// Makes the first promise of a node that was never protected, where there is none yet.
    pub fn create(&self) -> Result<(), PromiseError> {
        match self.read() {
            Ok(_) => Ok(()),
            Err(PromiseError::Missing { .. }) => self.write(&Promise::default()),
            Err(
                error @ (PromiseError::Damaged { .. }
                | PromiseError::Read { .. }
                | PromiseError::Write(_)),
            ) => Err(error),
        }
    }

    /// Makes a promise durable: the file, its name and its directory. Blocks.
    pub fn write(&self, promise: &Promise) -> Result<(), PromiseError> {
        let written = Written {
            format: FORMAT.to_owned(),
            promise: *promise,
        };
        let text = serde_json::to_string(&written).expect("own types have string keys");
        Ok(replace_file(&self.path, &format!("{text}\n"), self.owner)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_core::position::{Epoch, Followed, RuleId};
    use manada_model::Lsn;

    fn in_scratch() -> (tempfile::TempDir, PromiseFile) {
        let directory = tempfile::tempdir().expect("a directory");
        let owner = FileOwner::like(directory.path()).expect("there");
        let file = PromiseFile::in_directory(directory.path(), owner);
        (directory, file)
    }

    #[test]
    fn a_promise_is_read_back_as_it_was_made() {
        let (_directory, file) = in_scratch();
        let promise = Promise {
            epoch: Epoch(7),
            led: Some(Epoch(3)),
            followed: Some(Followed {
                epoch: Epoch(4),
                from: Lsn(0x3000),
            }),
            rule: RuleId {
                epoch: Epoch(3),
                sub: 2,
            },
        };
        file.create().expect("new");
        assert_eq!(file.read().expect("there"), Promise::default());
        file.write(&promise).expect("written");
        file.create().expect("kept");
        assert_eq!(file.read().expect("there"), promise);
    }

    #[test]
    fn a_missing_or_damaged_promise_is_never_taken_for_a_new_one() {
        let (directory, file) = in_scratch();
        assert!(matches!(file.read(), Err(PromiseError::Missing { .. })));
        let path = directory.path().join("promise.json");
        for text in ["", "{", "null", r#"{"format":"other","promise":{}}"#] {
            fs::write(&path, text).expect("written");
            assert!(matches!(file.read(), Err(PromiseError::Damaged { .. })));
            assert!(matches!(file.create(), Err(PromiseError::Damaged { .. })));
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
        }
    }
}
