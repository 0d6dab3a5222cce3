//! The archive's label: a small file that says whose WAL is kept here.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use manada_model::SystemIdentifier;

use super::temporary::Temporary;

/// The label's name: no WAL file can be called so.
const LABEL: &str = "system_identifier";

/// The longest label that is read.
const LABEL_BYTES_MAX: usize = 64;

/// An archive's label can't be read or made.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The archive is not there.
    #[error(
        "the archive {} is not there: create the directory, or mount its file system",
        archive.display()
    )]
    NoArchive {
        /// The archive.
        archive: PathBuf,
    },
    /// Something about it can't be done.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is damaged.
    #[error(
        "{} is damaged: it should hold one system identifier; restore it, or remove it if the archive is the right one",
        path.display()
    )]
    Damaged {
        /// The label.
        path: PathBuf,
    },
    /// It is another cluster's.
    #[error(
        "the archive {} is kept for the cluster with system identifier {found}, not for {expected}: give each cluster an archive of its own",
        archive.display()
    )]
    OtherCluster {
        /// The archive.
        archive: PathBuf,
        /// Whose it is.
        found: SystemIdentifier,
        /// Who asks.
        expected: SystemIdentifier,
    },
}

/// Makes an existing directory the archive of one cluster. Again for the same cluster it changes
/// nothing.
pub fn create(archive: &Path, cluster: SystemIdentifier) -> Result<(), LabelError> {
    match read(archive)? {
        Some(found) => check(archive, found, cluster),
        None => write(archive, cluster),
    }
}

pub(super) fn check(
    archive: &Path,
    found: SystemIdentifier,
    expected: SystemIdentifier,
) -> Result<(), LabelError> {
    if found == expected {
        Ok(())
    } else {
        Err(LabelError::OtherCluster {
            archive: archive.to_path_buf(),
            found,
            expected,
        })
    }
}

/// Whose archive it is; `None` where it has no label.
pub(super) fn read(archive: &Path) -> Result<Option<SystemIdentifier>, LabelError> {
    let path = archive.join(LABEL);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if archive.is_dir() {
                Ok(None)
            } else {
                Err(LabelError::NoArchive {
                    archive: archive.to_path_buf(),
                })
            };
        }
        Err(source) => {
            return Err(LabelError::Io {
                action: "read",
                path,
                source,
            });
        }
    };
    parse(&text).map(Some).ok_or(LabelError::Damaged { path })
}

fn parse(text: &[u8]) -> Option<SystemIdentifier> {
    if text.len() > LABEL_BYTES_MAX {
        return None;
    }
    let digits = str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn write(archive: &Path, cluster: SystemIdentifier) -> Result<(), LabelError> {
    let path = archive.join(LABEL);
    let io_error = |source| LabelError::Io {
        action: "write",
        path: path.clone(),
        source,
    };
    let mut temporary = Temporary::create(archive, LABEL).map_err(io_error)?;
    // Read by standbys' users too, which need not be the one who archives.
    let everybody = fs::Permissions::from_mode(0o644);
    temporary
        .file()
        .set_permissions(everybody)
        .and_then(|()| writeln!(temporary.file(), "{cluster}"))
        .map_err(io_error)?;
    match temporary.publish() {
        Ok(()) => Ok(()),
        // Another archiver was faster; it may be another cluster's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read(archive)? {
            Some(found) => check(archive, found, cluster),
            None => Err(io_error(error)),
        },
        Err(error) => Err(io_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_archive_belongs_to_one_cluster() {
        let archive = tempfile::tempdir().expect("a directory");
        assert_eq!(read(archive.path()).expect("readable"), None);
        create(archive.path(), SystemIdentifier(7)).expect("made");
        create(archive.path(), SystemIdentifier(7)).expect("the same again");
        assert!(matches!(
            create(archive.path(), SystemIdentifier(8)),
            Err(LabelError::OtherCluster { .. })
        ));
        assert_eq!(
            read(archive.path()).expect("readable"),
            Some(SystemIdentifier(7))
        );
        let names: Vec<_> = fs::read_dir(archive.path())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, [LABEL]);
    }

    #[test]
    fn a_missing_archive_is_not_made() {
        let parent = tempfile::tempdir().expect("a directory");
        let archive = parent.path().join("archive");
        assert!(matches!(
            create(&archive, SystemIdentifier(7)),
            Err(LabelError::NoArchive { .. })
        ));
        assert!(!archive.exists());
    }

    proptest! {
        #[test]
        fn a_label_is_read_back(number: u64) {
            let text = format!("{number}\n");
            prop_assert_eq!(parse(text.as_bytes()), Some(SystemIdentifier(number)));
        }

        #[test]
        fn any_label_is_survived(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(number) = parse(&text) {
                prop_assert!(text.ends_with(b"\n") && number.to_string().len() < text.len() + 1);
            }
        }
    }
}
