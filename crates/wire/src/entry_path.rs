//! The path of a file within a backup: relative, and unable to leave where it is put.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest path that is accepted, in bytes: PostgreSQL's own limit (`MAXPGPATH`).
pub const PATH_BYTES_MAX: usize = 1024;

/// A relative path of one or more plain names, as bytes: file names need not be UTF-8.
///
/// No value of this type is absolute, has a `.`, a `..`, an empty name or a zero byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Box<[u8]>);

/// The path could lead out of the directory it is meant for, or is none at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server sent the path {shown:?}, which {why}")]
pub struct UnsafePath {
    /// The path, shortened, as well as it can be shown.
    pub shown: String,
    /// What is wrong with it.
    pub why: PathFault,
}

/// What can be wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// It begins with a slash.
    Absolute,
    /// It has a component `..`.
    Parent,
    /// It has a component `.`, or an empty one, or is empty.
    NotPlain,
    /// It has a zero byte.
    ZeroByte,
    /// It is longer than [`PATH_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathFault::Absolute => "is absolute",
            PathFault::Parent => "leads upwards",
            PathFault::NotPlain => "has an empty name or a lone dot in it",
            PathFault::ZeroByte => "has a zero byte in it",
            PathFault::TooLong => "is too long",
        })
    }
}

impl EntryPath {
    /// Checks a path.
    ///
    /// # Errors
    /// It is not a relative path of plain names.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnsafePath> {
        match fault(bytes) {
            None => Ok(EntryPath(bytes.into())),
            Some(why) => Err(UnsafePath {
                shown: shown(bytes),
                why,
            }),
        }
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the operating system takes it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// This path below a directory.
    ///
    /// # Errors
    /// Together they are too long.
    pub fn below(&self, directory: &EntryPath) -> Result<Self, UnsafePath> {
        EntryPath::parse(&[&directory.0, &b"/"[..], &self.0].concat())
    }
}

fn fault(bytes: &[u8]) -> Option<PathFault> {
    if bytes.len() > PATH_BYTES_MAX {
        return Some(PathFault::TooLong);
    }
    if bytes.contains(&0) {
        return Some(PathFault::ZeroByte);
    }
    if bytes.first() == Some(&b'/') {
        return Some(PathFault::Absolute);
    }
    bytes
        .split(|byte| *byte == b'/')
        .find_map(|name| match name {
            b".." => Some(PathFault::Parent),
            b"" | b"." => Some(PathFault::NotPlain),
            _ => None,
        })
}

fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 120;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned()
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_could_leave_are_refused() {
        for (path, why) in [
            (&b"/etc/passwd"[..], PathFault::Absolute),
            (b"../x", PathFault::Parent),
            (b"base/../../x", PathFault::Parent),
            (b"base/..", PathFault::Parent),
            (b"", PathFault::NotPlain),
            (b".", PathFault::NotPlain),
            (b"a//b", PathFault::NotPlain),
            (b"a/", PathFault::NotPlain),
            (b"./a", PathFault::NotPlain),
            (b"a\0b", PathFault::ZeroByte),
            (&[b'a'; PATH_BYTES_MAX + 1], PathFault::TooLong),
        ] {
            assert_eq!(EntryPath::parse(path).map_err(|e| e.why), Err(why));
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_has_only_plain_names(path in "[./a\u{0}-]{0,12}") {
            if let Ok(accepted) = EntryPath::parse(path.as_bytes()) {
                for name in std::path::Path::new(&accepted.to_string()).components() {
                    prop_assert!(matches!(name, std::path::Component::Normal(_)));
                }
            }
        }
    }
}
