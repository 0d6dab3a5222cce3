//! Making what was written survive a power cut.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many files are synced at once: a journal commit carries all that are waiting for it, so
/// that threads beyond the disk's own queue still help.
const THREADS: usize = 16;

/// Syncs every file and directory at and below `root`, many at once. Links are not followed.
pub fn sync_tree(root: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    collect(root, &mut entries)?;
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(path) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            if let Err(error) = File::open(path).and_then(|file| file.sync_all()) {
                failed.store(true, Ordering::Relaxed);
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..THREADS.min(entries.len()) {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Syncs a directory, so that the names in it survive.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn collect(path: &Path, entries: &mut Vec<PathBuf>) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), entries)?;
        }
    }
    if kind.is_dir() || kind.is_file() {
        entries.push(path.to_path_buf());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_links_and_empty_directories_is_synced() {
        let tree = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(tree.path().join("a/b")).expect("made");
        fs::write(tree.path().join("a/file"), "text").expect("written");
        std::os::unix::fs::symlink("/nonexistent", tree.path().join("a/link")).expect("linked");
        sync_tree(tree.path()).expect("synced");
        let mut entries = Vec::new();
        collect(tree.path(), &mut entries).expect("read");
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn a_missing_tree_is_an_error() {
        assert!(sync_tree(Path::new("/nonexistent/tree")).is_err());
    }
}
