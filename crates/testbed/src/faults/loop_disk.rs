//! A file system on a block device of its own, which can lose its power, stall and get full.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

use crate::programs::Missing;
use crate::run::output;
use crate::wait::poll_until;

/// How long a file system that nobody uses any more may take to be free.
const UNMOUNT_MAX: Duration = Duration::from_secs(10);

/// What a full disk has left, at most.
const LEFT_BYTES_MAX: u64 = 64 << 10;

/// ext4 in an image, on a loop device.
#[derive(Debug)]
pub struct LoopDisk {
    /// What is mounted and unmounted below it is so in all mount namespaces: each process on a
    /// host has one of its own, and one that kept the file system would keep it without power.
    shared: PathBuf,
    image: PathBuf,
    path: PathBuf,
}

impl LoopDisk {
    /// Makes one of `megabytes` below the new directory `place`.
    pub fn mount(place: impl Into<PathBuf>, megabytes: u64) -> Result<LoopDisk, Missing> {
        let shared = place.into();
        let disk = LoopDisk {
            image: shared.join("image"),
            path: shared.join("disk"),
            shared,
        };
        let made = || -> io::Result<()> {
            fs::create_dir(&disk.shared)?;
            output(
                Command::new("mount")
                    .arg("--bind")
                    .args([&disk.shared, &disk.shared]),
            )?;
            output(Command::new("mount").arg("--make-shared").arg(&disk.shared))?;
            fs::create_dir(&disk.path)?;
            File::create(&disk.image)?.set_len(megabytes << 20)?;
            // No space is kept for root: a full disk is full for all.
            output(
                Command::new("mkfs.ext4")
                    .args(["-q", "-F", "-m", "0"])
                    .arg(&disk.image),
            )?;
            disk.attach()
        };
        match made() {
            Ok(()) => Ok(disk),
            Err(error) => Err(Missing::new(format!(
                "a disk needs root, e2fsprogs and loop devices: {error}"
            ))),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loses its power: from now on nothing is read or written, and what was not synced is gone.
    ///
    /// # Panics
    /// When the kernel can't do it.
    #[track_caller]
    pub fn cut_power(&self) {
        // EXT4_IOC_SHUTDOWN without flushing the journal. It takes an ioctl, which is no safe call.
        const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
             fd = os.open(sys.argv[1], os.O_RDONLY)\n\
             fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))\n";
        must(
            Command::new("python3")
                .args(["-c", SHUTDOWN])
                .arg(&self.path),
        );
    }

    /// Gives the power back, after all who used it have ended: the journal is replayed.
    ///
    /// # Panics
    /// When it is still in use, or can't be mounted.
    #[track_caller]
    pub fn restore_power(&self) {
        let mut last = Ok(String::new());
        poll_until(UNMOUNT_MAX, || {
            last = output(Command::new("umount").arg(&self.path));
            last.is_ok()
        });
        if let Err(error) = last.and_then(|_| self.attach()) {
            panic!("{}: {error}", self.path.display());
        }
    }

    /// Takes all the space that is left, until [`LoopDisk::make_room`].
    ///
    /// # Panics
    /// When it can't be taken for another reason than a full disk.
    #[track_caller]
    pub fn fill(&self) {
        let file = File::create(self.filler()).expect("there is room for a name");
        let (mut end, mut piece) = (0, 64 << 20);
        while piece >= LEFT_BYTES_MAX {
            match fallocate(&file, FallocateFlags::empty(), end, piece) {
                Ok(()) => end += piece,
                Err(rustix::io::Errno::NOSPC) => piece /= 2,
                Err(error) => panic!("{}: {error}", self.path.display()),
            }
        }
    }

    /// Keeps so much space for what is appended to a file on it, whoever fills the disk.
    ///
    /// # Panics
    /// When there is no such file, or no such space.
    #[track_caller]
    pub fn reserve(&self, path: &Path, bytes: u64) {
        let reserved = || -> io::Result<()> {
            let file = File::options().append(true).open(path)?;
            let end = file.metadata()?.len();
            fallocate(&file, FallocateFlags::KEEP_SIZE, end, bytes)?;
            Ok(())
        };
        if let Err(error) = reserved() {
            panic!("{}: {error}", path.display());
        }
    }

    /// Gives back what [`LoopDisk::fill`] took, durably: a loss of power does not take it again.
    pub fn make_room(&self) {
        // Nothing to give back if it was never filled.
        fs::remove_file(self.filler()).ok();
        if let Ok(directory) = File::open(&self.path) {
            directory.sync_all().ok();
        }
    }

    /// Whoever writes waits until [`LoopDisk::go_on`].
    ///
    /// # Panics
    /// When the kernel can't do it.
    #[track_caller]
    pub fn stall(&self) {
        must(Command::new("fsfreeze").arg("-f").arg(&self.path));
    }

    /// Ends a stall.
    #[track_caller]
    pub fn go_on(&self) {
        must(Command::new("fsfreeze").arg("-u").arg(&self.path));
    }

    /// Mounts the image on a device that it has not had before. Whoever took a mount namespace of
    /// its own meanwhile may keep the file system that has lost its power, and with it the device.
    fn attach(&self) -> io::Result<()> {
        let mut find = Command::new("losetup");
        find.args(["--find", "--show"]).arg(&self.image);
        let device = output(&mut find)?;
        let device = device.trim();
        let mounted = output(Command::new("mount").arg(device).arg(&self.path));
        // A device that is in use goes with the file system on it.
        output(Command::new("losetup").args(["--detach", device]))?;
        mounted.map(|_| ())
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // It is not frozen, as a rule, and may be unmounted already.
        output(Command::new("fsfreeze").arg("-u").arg(&self.path)).ok();
        for place in [&self.path, &self.shared] {
            output(Command::new("umount").arg("--lazy").arg(place)).ok();
        }
    }
}

#[track_caller]
fn must(command: &mut Command) {
    if let Err(error) = output(command) {
        panic!("{error}");
    }
}
