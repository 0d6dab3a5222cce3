//! How files and directories of a clone are made: never over anything, with the right
//! permissions and owner.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown, lchown};
use std::path::Path;

use manada_postgres::os_user::OsUser;

use super::CloneError;

/// Permissions and owner of what is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    group_access: bool,
    owner: Option<(u32, u32)>,
}

impl Placement {
    pub(super) fn new(group_access: bool, owner: Option<&OsUser>) -> Result<Self, CloneError> {
        let we = rustix::process::geteuid();
        let owner = owner.filter(|owner| owner.uid() != we.as_raw());
        match owner {
            Some(owner) if !we.is_root() => Err(CloneError::OwnerNeedsRoot {
                owner: owner.name().to_owned(),
            }),
            _ => Ok(Placement {
                group_access,
                owner: owner.map(|owner| (owner.uid(), owner.gid())),
            }),
        }
    }

    /// Makes a file that must not exist. Of `mode`, what PostgreSQL allows in a data directory
    /// counts: nobody else's access, the group's only where the source has it.
    pub(super) fn create_file(self, path: &Path, mode: u32) -> Result<File, CloneError> {
        let failed = |source| CloneError::io("creating", path, source);
        let (always, allowed) = if self.group_access {
            (0o640, 0o750)
        } else {
            (0o600, 0o700)
        };
        let mode = always | (mode & allowed);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(failed)?;
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(failed)?;
        if let Some((uid, gid)) = self.owner {
            fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(file)
    }

    /// Makes a directory; returns whether it was not there before.
    pub(super) fn create_directory(self, path: &Path) -> Result<bool, CloneError> {
        let failed = |source| CloneError::io("creating", path, source);
        let mode = if self.group_access { 0o750 } else { 0o700 };
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_directory(path) => {
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        }
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        if let Some((uid, gid)) = self.owner {
            chown(path, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(true)
    }

    /// Makes a symbolic link that must not exist.
    pub(super) fn create_link(self, path: &Path, target: &Path) -> Result<(), CloneError> {
        let failed = |source| CloneError::io("creating", path, source);
        std::os::unix::fs::symlink(target, path).map_err(failed)?;
        if let Some((uid, gid)) = self.owner {
            lchown(path, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(())
    }
}

/// A directory itself, not a link to one.
fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}
