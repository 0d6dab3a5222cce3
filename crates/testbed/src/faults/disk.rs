//! Faults of the disk: full, and read-only.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::Missing;
use crate::run::output;

/// A file system of a few megabytes, mounted on a new directory.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `megabytes` at `path`, writable by all.
    pub fn mount(path: impl Into<PathBuf>, megabytes: u32) -> Result<SmallDisk, Missing> {
        let path = path.into();
        let options = format!("size={megabytes}m,mode=0777");
        let mounted = fs::create_dir(&path).and_then(|()| {
            let mut mount = Command::new("mount");
            mount
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(&path);
            output(&mut mount)
        });
        match mounted {
            Ok(_) => Ok(SmallDisk { path }),
            Err(error) => Err(Missing::new(format!("a small disk needs root: {error}"))),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the space that is left, until [`SmallDisk::make_room`].
    ///
    /// # Panics
    /// When it fails for another reason than a full disk.
    #[track_caller]
    pub fn fill(&self) {
        let filled = File::create(self.filler()).and_then(|mut file| {
            let block = [0; 64 * 1024];
            loop {
                // Ends with the disk.
                file.write_all(&block)?;
            }
        });
        let filled: io::Error = match filled {
            Ok(()) => return,
            Err(error) => error,
        };
        assert_eq!(filled.kind(), ErrorKind::StorageFull, "{filled}");
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn make_room(&self) {
        // Nothing to give back if it was never filled.
        fs::remove_file(self.filler()).ok();
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// A directory in which nothing can be written, not by root either, until this is dropped.
#[derive(Debug)]
#[must_use = "the directory is writable again when this is dropped"]
pub struct ReadOnly {
    path: PathBuf,
}

impl ReadOnly {
    /// Makes `path` read-only with all below it.
    pub fn mount(path: impl Into<PathBuf>) -> Result<ReadOnly, Missing> {
        let path = path.into();
        let read_only = ReadOnly { path: path.clone() };
        let mut bind = Command::new("mount");
        bind.arg("--bind").args([&path, &path]);
        let mut remount = Command::new("mount");
        remount.args(["-o", "remount,bind,ro"]).arg(&path);
        output(&mut bind)
            .and_then(|_| output(&mut remount))
            .map_err(|error| Missing::new(format!("a read-only directory needs root: {error}")))?;
        Ok(read_only)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

/// Unmounts what is mounted at `directory` and below it, at once for whoever looks there anew.
pub(crate) fn unmount_below(directory: &Path) {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else {
        return;
    };
    // The fifth field is the place. The last mounted comes last.
    let places = mounts
        .lines()
        .rev()
        .filter_map(|line| line.split(' ').nth(4));
    for place in places
        .map(Path::new)
        .filter(|place| place.starts_with(directory))
    {
        unmount(place);
    }
}

fn unmount(path: &Path) {
    // It may be unmounted already.
    output(Command::new("umount").arg("--lazy").arg(path)).ok();
}
