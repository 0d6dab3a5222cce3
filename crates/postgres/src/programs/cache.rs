//! Where fetched server programs are kept: `manada/postgresql-17.10-x86_64/` in the user's cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, base_strategy::Xdg};
use manada_model::MajorVersion;

use crate::os_user::we_are_root;

/// Root's own directories are closed to the user that runs the servers; this one is open to all.
const CACHE_OF_ROOT: &str = "/var/cache/manada";

/// The directory of fetched server programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    directory: PathBuf,
}

/// The cache can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is nowhere to put it.
    #[error("can't tell where your cache is: set HOME or XDG_CACHE_HOME to a directory")]
    NoHome,
    /// It can't be written to.
    #[error(
        "can't write to the cache {}: set XDG_CACHE_HOME to a directory with 200 MB free, or give installed programs with --pg",
        directory.display()
    )]
    NotWritable {
        /// The cache.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its file system is full.
    #[error(
        "no room in the cache {}: free 200 MB there, or set XDG_CACHE_HOME to a directory elsewhere",
        directory.display()
    )]
    Full {
        /// The cache.
        directory: PathBuf,
    },
}

impl Cache {
    /// This user's cache: `$XDG_CACHE_HOME/manada`, else `~/.cache/manada`; for root
    /// `/var/cache/manada`, because the user that runs root's servers must reach it.
    pub fn of_this_user() -> Result<Cache, CacheError> {
        if we_are_root() {
            return Ok(Cache::at(PathBuf::from(CACHE_OF_ROOT)));
        }
        let strategy = Xdg::new().map_err(|_| CacheError::NoHome)?;
        Ok(Cache::at(strategy.cache_dir().join("manada")))
    }

    /// A cache in a directory of one's own choice.
    pub fn at(directory: PathBuf) -> Cache {
        Cache { directory }
    }

    /// The directory, which may not exist yet.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The programs of this major version, if they were fetched; the newest of several.
    pub(super) fn bin_dir(&self, major: MajorVersion) -> Option<PathBuf> {
        let prefix = format!("postgresql-{major}.");
        let entries = fs::read_dir(&self.directory).ok()?;
        entries
            .filter_map(Result::ok)
            .filter(|entry| {
                entry
                    .file_name()
                    .as_encoded_bytes()
                    .starts_with(prefix.as_bytes())
            })
            .map(|entry| entry.path().join("bin"))
            .filter(|bin_dir| bin_dir.join("postgres").exists())
            .max()
    }
}
