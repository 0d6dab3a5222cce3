//! Where fetched server programs are kept: `manada/postgresql-17.10-x86_64-wheel/` in the user's cache.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, base_strategy::Xdg};
use manada_model::MajorVersion;

use super::artefacts::{Artefact, Machine};
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

    /// The programs of this major version, if they were fetched: the build pinned now, else the
    /// newest of those that earlier versions of Manada pinned.
    pub(super) fn bin_dir(&self, major: MajorVersion) -> Option<PathBuf> {
        let pinned = Machine::ours()
            .into_iter()
            .flat_map(|machine| Artefact::of(major, machine))
            .map(|artefact| self.directory.join(artefact.directory_name()));
        let earlier = self.earlier(major);
        pinned
            .chain(earlier)
            .map(|home| home.join("bin"))
            .find(|bin_dir| bin_dir.join("postgres").exists())
    }

    fn earlier(&self, major: MajorVersion) -> Vec<PathBuf> {
        let prefix = format!("postgresql-{major}.");
        let minor_of = |name: &OsStr| -> Option<u32> {
            let (minor, _) = name.to_str()?.strip_prefix(&prefix)?.split_once('-')?;
            minor.parse().ok()
        };
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut homes: Vec<(u32, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some((minor_of(&entry.file_name())?, entry.path())))
            .collect();
        homes.sort();
        homes.into_iter().rev().map(|(_, home)| home).collect()
    }

    /// The error that `source`, met while working in the cache, amounts to.
    pub(super) fn error(&self, source: io::Error) -> CacheError {
        let directory = self.directory.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CacheError::Full { directory }
            }
            _ => CacheError::NotWritable { directory, source },
        }
    }

    /// Whether `error` says something about the cache rather than about what was read.
    pub(super) fn is_at_fault(&self, error: &io::Error) -> bool {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::PermissionDenied
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_earlier_builds_is_used_where_the_pinned_one_is_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::at(directory.path().to_path_buf());
        assert_eq!(cache.bin_dir(MajorVersion::V17), None);
        for name in [
            "postgresql-17.2-x86_64-npm",
            "postgresql-17.11-x86_64-npm",
            "postgresql-17.x",
            "postgresql-16.99-x86_64-npm",
        ] {
            let bin = directory.path().join(name).join("bin");
            fs::create_dir_all(&bin).expect("made");
            fs::write(bin.join("postgres"), "").expect("written");
        }
        let newest = directory.path().join("postgresql-17.11-x86_64-npm/bin");
        assert_eq!(cache.bin_dir(MajorVersion::V17), Some(newest));
    }
}
