//! The directory beside the target in which a clone grows, and how it becomes the target.
//!
//! ```text
//! <target>.manada-partial-<random>/
//!   MANADA_PARTIAL_CLONE      says what this is; locked by whoever is at work in it
//!   data/                     becomes <target>
//! ```
//!
//! Only a directory with that name and that marker, on which nobody holds the lock, is ever
//! removed.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use manada_postgres::durable::sync_directory;
use rustix::fs::{FlockOperation, flock};

use super::CloneError;
use super::placement::Placement;

const PARTIAL_INFIX: &str = ".manada-partial-";
const MARKER: &str = "MANADA_PARTIAL_CLONE";
const MARKER_TEXT: &str = "An unfinished clone that Manada is making or has given up.\n\
    Unless a clone is running, this directory can be deleted; the next clone does so itself.\n";

/// A target that was looked at: it is absent, or an empty directory.
#[derive(Debug, Clone)]
pub(super) struct Target {
    path: PathBuf,
}

/// Checks that a clone may become `path`.
pub(super) fn examine(path: &Path) -> Result<Target, CloneError> {
    let path = resolve(path)?;
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(CloneError::io("looking at", &path, error)),
        Ok(metadata) if !metadata.is_dir() => return Err(CloneError::TargetNotDirectory { path }),
        Ok(metadata) => {
            let mut entries =
                std::fs::read_dir(&path).map_err(|e| CloneError::io("reading", &path, e))?;
            if entries.next().is_some() {
                return Err(CloneError::TargetNotEmpty { path });
            }
            let parent = std::fs::metadata(parent_of(&path));
            if parent.is_ok_and(|parent| parent.dev() != metadata.dev()) {
                return Err(CloneError::TargetIsMountPoint { path });
            }
        }
    }
    Ok(Target { path })
}

/// The absolute path, links followed: a clone is renamed to where it really belongs.
fn resolve(path: &Path) -> Result<PathBuf, CloneError> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path
                .file_name()
                .ok_or_else(|| CloneError::TargetNotDirectory {
                    path: path.to_owned(),
                })?;
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                Some(_) | None => Path::new("."),
            };
            match parent.canonicalize() {
                Ok(parent) => Ok(parent.join(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(CloneError::ParentMissing {
                        parent: parent.to_owned(),
                    })
                }
                Err(error) => Err(CloneError::io("looking at", parent, error)),
            }
        }
        Err(error) => Err(CloneError::io("looking at", path, error)),
    }
}

/// A clone that grows. Dropping it before it is published removes it.
#[derive(Debug)]
pub(super) struct Staging {
    root: PathBuf,
    data: PathBuf,
    target: PathBuf,
    placement: Placement,
    /// Held until the directory is gone: others then know it is in use.
    _lock: File,
    /// Those that were made, to be flushed; the data directory first.
    directories: Mutex<Vec<PathBuf>>,
    published: AtomicBool,
    /// Whoever waited for it has gone. Held while it gets its name.
    abandoned: Mutex<bool>,
}

impl Staging {
    /// Removes what broken-off attempts at the same target have left, and begins anew.
    pub(super) fn create(target: Target, placement: Placement) -> Result<Self, CloneError> {
        let target = target.path;
        sweep(&target);
        let random = tempfile::Builder::new()
            .prefix(&partial_prefix(&target))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(parent_of(&target));
        let root = random
            .map_err(|error| CloneError::io("creating a directory in", parent_of(&target), error))?
            .keep();
        // From here on a failure removes the directory.
        let lock = match lock_marker(&root) {
            Ok(lock) => lock,
            Err(error) => {
                let failed = CloneError::io("writing", &root.join(MARKER), error);
                let _ = std::fs::remove_dir_all(&root);
                return Err(failed);
            }
        };
        let data = root.join("data");
        let staging = Staging {
            directories: Mutex::new(Vec::new()),
            root,
            target,
            placement,
            _lock: lock,
            published: AtomicBool::new(false),
            abandoned: Mutex::new(false),
            data: data.clone(),
        };
        staging.create_directory(&data)?;
        Ok(staging)
    }

    /// The growing data directory.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Where it will be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    pub(super) fn placement(&self) -> Placement {
        self.placement
    }

    /// Makes a directory, or finds it made.
    pub(super) fn create_directory(&self, path: &Path) -> Result<(), CloneError> {
        if self.placement.create_directory(path)? {
            let mut directories = self.directories.lock().expect("no holder panics");
            directories.push(path.to_owned());
        }
        Ok(())
    }

    /// Makes the names of all files and directories durable.
    pub(super) fn flush_directories(&self) -> Result<(), CloneError> {
        let directories = self.directories.lock().expect("no holder panics");
        directories
            .iter()
            .rev()
            .try_for_each(|path| flush_directory(path))
    }

    /// From here on it gets no name: nobody waits for it.
    pub(super) fn abandon(&self) {
        *self.abandoned.lock().expect("no holder panics") = true;
    }

    /// Gives the directory its name, durably.
    pub(super) fn publish(&self) -> Result<(), CloneError> {
        let abandoned = self.abandoned.lock().expect("no holder panics");
        if *abandoned {
            let broken_off = io::ErrorKind::Interrupted.into();
            return Err(CloneError::io(
                "renaming the clone to",
                &self.target,
                broken_off,
            ));
        }
        std::fs::rename(&self.data, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                CloneError::TargetNotEmpty {
                    path: self.target.clone(),
                }
            }
            _ => CloneError::io("renaming the clone to", &self.target, error),
        })?;
        self.published.store(true, Ordering::Relaxed);
        flush_directory(parent_of(&self.target))
    }

    /// Takes the name back: the other half of the clone could not get its own.
    pub(super) fn retract(&self) {
        if self.published.swap(false, Ordering::Relaxed) {
            // Where even this fails, the next attempt refuses the directory by name.
            let _ = std::fs::rename(&self.target, &self.data);
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            tracing::warn!(directory = %self.root.display(), %error, "a partial clone stays behind");
        }
    }
}

pub(super) fn flush_directory(path: &Path) -> Result<(), CloneError> {
    sync_directory(path).map_err(|error| CloneError::io("flushing", path, error))
}

fn parent_of(target: &Path) -> &Path {
    // An absolute path without a parent is the root, which is never an empty directory.
    target.parent().unwrap_or(target)
}

fn partial_prefix(target: &Path) -> OsString {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL_INFIX);
    name
}

/// Writes the marker and locks it.
fn lock_marker(root: &Path) -> io::Result<File> {
    let mut marker = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(root.join(MARKER))?;
    flock(&marker, FlockOperation::NonBlockingLockExclusive)?;
    marker.write_all(MARKER_TEXT.as_bytes())?;
    Ok(marker)
}

/// Removes partial clones of `target` that nobody is at work in. What can't be removed stays: it
/// is in nobody's way.
fn sweep(target: &Path) {
    let prefix = partial_prefix(target);
    let Ok(entries) = std::fs::read_dir(parent_of(target)) else {
        return;
    };
    for entry in entries.flatten() {
        let is_partial = entry.file_type().is_ok_and(|kind| kind.is_dir())
            && starts_with(&entry.file_name(), &prefix);
        if is_partial && is_abandoned(&entry.path()) {
            tracing::info!(directory = %entry.path().display(), "removing a partial clone");
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(directory = %entry.path().display(), %error, "can't remove it");
            }
        }
    }
}

fn starts_with(name: &OsStr, prefix: &OsStr) -> bool {
    name.as_bytes().starts_with(prefix.as_bytes())
}

/// Whether it has our marker and nobody holds its lock.
fn is_abandoned(root: &Path) -> bool {
    let marker = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(root.join(MARKER));
    marker.is_ok_and(|marker| flock(&marker, FlockOperation::NonBlockingLockExclusive).is_ok())
}
