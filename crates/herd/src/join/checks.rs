//! What can be known to fail before anything is copied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use manada_model::{HerdName, NodeName, ServerVersion};
use manada_postgres::programs::ServerPrograms;

use crate::admission::PrimaryFacts;
use crate::home::Home;
use crate::node_file::{NodeFile, NodeFileError};

/// Room beyond the databases' own size: WAL, and what grows meanwhile.
const SPARE_BYTES: u64 = 128 << 20;

/// Why this host can't become the standby that is asked for.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// The home is a node's already.
    #[error("{} holds the node {name} of the herd {herd} already", home.display())]
    NodeExists {
        /// The home.
        home: PathBuf,
        /// The herd.
        herd: HerdName,
        /// The node.
        name: NodeName,
    },
    /// Something is in the data directory.
    #[error("the data directory {} is not empty", path.display())]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// The programs here are of another major version.
    #[error("the primary is PostgreSQL {primary}, the programs here are {here}")]
    OtherMajor {
        /// The primary's.
        primary: ServerVersion,
        /// The programs'.
        here: ServerVersion,
    },
    /// There is no room for the data.
    #[error(
        "the primary's databases need {} MB, and {} has {} MB free",
        needed_bytes >> 20,
        path.display(),
        free_bytes >> 20
    )]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What is needed.
        needed_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// A setting of this host's own is below the primary's.
    #[error(
        "{name} is {here} here and {primary} on the primary: a standby with less does not start"
    )]
    LimitTooSmall {
        /// The setting.
        name: &'static str,
        /// Its value here.
        here: u32,
        /// Its value on the primary.
        primary: u32,
        /// Where it is set here.
        config_file: PathBuf,
    },
    /// A directory can't be looked at.
    #[error("looking at {}: {source}", path.display())]
    Inspect {
        /// The directory.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The home's `manada.toml` can't be used.
    #[error(transparent)]
    NodeFile(#[from] NodeFileError),
}

/// Proves that the home is nobody's.
pub(super) fn home_is_free(home: &Home) -> Result<(), Obstacle> {
    if !home.node_file().exists() {
        return Ok(());
    }
    let present = NodeFile::read(&home.node_file())?;
    Err(Obstacle::NodeExists {
        home: home.path().to_path_buf(),
        herd: present.herd,
        name: present.name,
    })
}

/// Proves that a physical copy of the primary runs with these programs.
pub(super) fn same_major(facts: &PrimaryFacts, programs: &ServerPrograms) -> Result<(), Obstacle> {
    if facts.version.major() == Ok(programs.major()) {
        return Ok(());
    }
    Err(Obstacle::OtherMajor {
        primary: facts.version,
        here: programs.version(),
    })
}

/// Proves that the data directory is absent or empty.
pub(super) fn is_empty(path: &Path) -> Result<(), Obstacle> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Obstacle::NotEmpty {
                path: path.to_path_buf(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Obstacle::Inspect {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// Proves that the databases fit where the data directory will be.
pub(super) fn has_room(path: &Path, facts: &PrimaryFacts) -> Result<(), Obstacle> {
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    let space = rustix::fs::statvfs(existing).map_err(|errno| Obstacle::Inspect {
        path: existing.to_path_buf(),
        source: errno.into(),
    })?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    let needed_bytes = facts.database_bytes.saturating_add(SPARE_BYTES);
    if free_bytes < needed_bytes {
        return Err(Obstacle::NoRoom {
            path: existing.to_path_buf(),
            needed_bytes,
            free_bytes,
        });
    }
    Ok(())
}
