//! Files that are replaced whole: after a crash there is the old text or the new one, never half.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// Whose a file is and who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The permissions, such as `0o600`.
    pub mode: u32,
}

impl FileOwner {
    /// As an existing file or directory; its permissions without those to execute.
    pub fn like(path: &Path) -> io::Result<FileOwner> {
        let metadata = fs::metadata(path)?;
        Ok(FileOwner {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o666,
        })
    }

    /// The same owner, with these permissions.
    pub fn with_mode(self, mode: u32) -> FileOwner {
        FileOwner { mode, ..self }
    }
}

/// A file could not be replaced. It is as it was.
#[derive(Debug, thiserror::Error)]
#[error("writing {}: {source}", path.display())]
pub struct ReplaceFileError {
    /// The file.
    pub path: PathBuf,
    /// The operating system's word.
    pub source: io::Error,
}

/// Writes `text` beside `path`, makes it durable, then gives it its name. A symbolic link is
/// followed: what it leads to is replaced.
pub fn replace_file(path: &Path, text: &str, owner: FileOwner) -> Result<(), ReplaceFileError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    replace(&target, text, owner).map_err(|source| ReplaceFileError {
        path: path.to_path_buf(),
        source,
    })
}

fn replace(path: &Path, text: &str, owner: FileOwner) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // A name of the temporary file that no include_dir takes up: it does not end in .conf.
    let mut file = tempfile::Builder::new()
        .prefix(".manada-")
        .suffix(".tmp")
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    let now = file.as_file().metadata()?;
    if (now.uid(), now.gid()) != (owner.uid, owner.gid) {
        fchown(file.as_file(), Some(owner.uid), Some(owner.gid))?;
    }
    file.as_file()
        .set_permissions(Permissions::from_mode(owner.mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "old").expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let owner = FileOwner::like(&real).expect("there").with_mode(0o600);
        replace_file(&link, "new", owner).expect("replaced");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read_to_string(&real).expect("there"), "new");
        assert_eq!(FileOwner::like(&real).expect("there"), owner);
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 2);
    }

    #[test]
    fn a_file_that_can_not_be_written_is_named() {
        let owner = FileOwner::like(Path::new("/tmp")).expect("there");
        let error = replace_file(Path::new("/nonexistent/x"), "", owner).expect_err("no directory");
        assert!(error.to_string().contains("/nonexistent/x"));
    }
}
