//! Directories of a test that vanish with it, together with the processes that work in them.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::faults::unmount_below;
use crate::process::{self, ProcessIdentity};

/// Linux's file system in memory that every user may write to.
const MEMORY: &str = "/dev/shm";
/// What it must have left to be used: servers of a few tests at once, and what they write.
const MEMORY_BYTES_MIN: u64 = 4 << 30;

/// Begins the name of every scratch directory; its owner's identity follows.
const PREFIX: &str = "manada-testbed.";

/// A directory that every user may enter, of this test alone. Dropping it ends all processes
/// whose working directory is in it (each process of a server's is) and removes it. What a
/// killed test process left is removed when the next one makes its first.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new, empty one.
    ///
    /// # Panics
    /// When it can't be made.
    #[allow(
        clippy::new_without_default,
        reason = "making a directory is no default"
    )]
    pub fn new() -> Self {
        static SWEPT: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SWEPT.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place().join(format!("{PREFIX}{}.{number}", ProcessIdentity::this()));
        let made = fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
        if let Err(error) = made {
            panic!(
                "can't make the scratch directory {}: {error}",
                path.display()
            );
        }
        Scratch { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// Where scratch directories are: in memory, where a server of a thousand files is made in a
/// fraction of the time, if there is enough of it and `TMPDIR` says nothing else.
fn place() -> PathBuf {
    let roomy = statvfs(MEMORY).is_ok_and(|disk| {
        disk.f_bavail * disk.f_frsize >= MEMORY_BYTES_MIN
            && !disk.f_flag.contains(StatVfsMountFlags::NOEXEC)
    });
    if roomy && std::env::var_os("TMPDIR").is_none() {
        PathBuf::from(MEMORY)
    } else {
        std::env::temp_dir()
    }
}

/// Removes what test processes left that are no more.
fn sweep() {
    let places = BTreeSet::from([std::env::temp_dir(), PathBuf::from(MEMORY)]);
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok());
    for entry in entries.flatten().flatten() {
        if owner(&entry.file_name().to_string_lossy()).is_some_and(|owner| !owner.is_alive()) {
            clear(&entry.path());
        }
    }
}

/// The process that made the scratch directory of this name.
fn owner(name: &str) -> Option<ProcessIdentity> {
    let (owner, _number) = name.strip_prefix(PREFIX)?.rsplit_once('.')?;
    owner.parse().ok()
}

fn clear(directory: &Path) {
    process::end(|| process::at_work_in(directory));
    unmount_below(directory);
    // Another test process may be sweeping the same one.
    fs::remove_dir_all(directory).ok();
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::wait::wait_until;

    #[test]
    fn a_daemon_that_works_elsewhere_ends_with_the_place_it_was_told_of() {
        let scratch = Scratch::new();
        let file = scratch.path().join("told");
        fs::write(&file, "").expect("written");
        let mut tail = Command::new("tail");
        let mut daemon = tail
            .arg("-f")
            .arg(&file)
            .current_dir("/")
            .spawn()
            .expect("there is such a program");
        drop(scratch);
        wait_until("it has ended", || {
            daemon.try_wait().expect("it is ours").is_some()
        });
    }
}
