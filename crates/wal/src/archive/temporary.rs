//! A file that gets its name when it is durable, and only if nothing has that name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use manada_postgres::durable::sync_directory;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, open, renameat_with};
use rustix::io::Errno;

/// How often a file that another process finishes under our hands is opened anew.
const OPENINGS_MAX: u32 = 10;

/// A file being written as `.NAME.tmp`, locked against others that write the same.
///
/// The name is always the same, so that what a crash left is taken over and not piled up.
pub(super) struct Temporary {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_published: bool,
}

impl Temporary {
    /// Begins `directory/name`, readable by its owner alone.
    pub(super) fn create(directory: &Path, name: &str) -> io::Result<Temporary> {
        let path = directory.join(format!(".{name}.tmp"));
        for _ in 0..OPENINGS_MAX {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let message = "another process is writing the same file now";
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
                }
                Err(errno) => return Err(errno.into()),
            }
            // Whoever held the lock may have published or removed what we opened.
            let ours = file.metadata()?;
            let is_still_there = fs::symlink_metadata(&path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
            if is_still_there {
                file.set_len(0)?;
                return Ok(Temporary {
                    file,
                    path,
                    target: directory.join(name),
                    is_published: false,
                });
            }
        }
        let message = "other processes keep writing the same file";
        Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the content, gives it its name, and syncs the name. `AlreadyExists` if something
    /// has that name; it is not touched.
    pub(super) fn publish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => self.is_published = true,
            // File systems without it (NFS among them) have links instead.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                fs::hard_link(&self.path, &self.target)?;
            }
            Err(errno) => return Err(errno.into()),
        }
        let directory = self.target.parent().unwrap_or(Path::new("."));
        sync_directory(directory)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_published {
            // What stays is taken over by the next writer of the same name.
            fs::remove_file(&self.path).ok();
        }
    }
}
