//! Copies of directories, owned by the user that will use them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use manada_postgres::os_user::OsUser;

/// The names in a directory, in order.
///
/// # Panics
/// When it can't be read.
#[track_caller]
pub fn names_in(directory: impl AsRef<Path>) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = entry.expect("a directory's entry").file_name();
        name.to_string_lossy().into_owned()
    };
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// Copies what is below `from` into the new directory `to`, for `owner`. What vanishes while it
/// is read is left out, as it may when a running server's directory is copied. `take` is asked
/// about every path, relative to `from`.
pub(crate) fn copy(
    from: &Path,
    to: &Path,
    owner: &OsUser,
    take: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    copy_below(from, to, Path::new(""), owner, take)
}

fn copy_below(
    from: &Path,
    to: &Path,
    relative: &Path,
    owner: &OsUser,
    take: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    let made = to.join(relative);
    fs::DirBuilder::new().mode(0o700).create(&made)?;
    owner.own(&made)?;
    for entry in fs::read_dir(from.join(relative))? {
        let entry = entry?;
        let path = relative.join(entry.file_name());
        if !take(&path) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_below(from, to, &path, owner, take)?;
        } else if kind.is_file() {
            let target = to.join(&path);
            match fs::copy(entry.path(), &target) {
                Ok(_) => owner.own(&target)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        } else {
            let what = format!("{} is neither file nor directory", entry.path().display());
            return Err(io::Error::new(ErrorKind::Unsupported, what));
        }
    }
    Ok(())
}

/// Makes a directory that only `owner` may enter.
pub(crate) fn make_private(path: &Path, owner: &OsUser) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    owner.own(path)
}

/// Writes a file that only `owner` may read.
pub(crate) fn write_private(path: &Path, text: &str, owner: &OsUser) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    owner.own(path)
}
