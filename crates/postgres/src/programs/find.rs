//! Looking for server programs where packagers and people put them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use manada_model::MajorVersion;

use super::inspect::{Refused, inspect};
use super::{Cache, Origin, ServerPrograms, Wanted};
use crate::os_user::OsUser;

/// Directories whose entries are versions, and what lies between an entry and its programs.
const VERSIONED_PLACES: [(&str, &str, &str); 5] = [
    // Debian and its descendants, the PostgreSQL project's own packages for them included.
    ("/usr/lib/postgresql", "", "bin"),
    // The PostgreSQL project's packages for Red Hat and its kin.
    ("/usr", "pgsql-", "bin"),
    // Gentoo.
    ("/usr/lib64", "postgresql-", "bin"),
    // Homebrew on Linux.
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    // The openSUSE packages.
    ("/usr/lib", "postgresql", "bin"),
];

/// Where one version lives alone: PostgreSQL's own default, and system packages off the PATH.
const SINGLE_PLACES: [&str; 3] = ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"];

/// What the default is where nothing is installed: the version fetched first.
pub(super) const DEFAULT_FETCHED: MajorVersion = MajorVersion::V17;

/// The outcome of a search.
#[derive(Clone, Debug)]
pub struct Found {
    /// The programs, if any were found.
    pub programs: Option<ServerPrograms>,
    /// What was looked at on the way and can't be used.
    pub refused: Vec<Refused>,
}

/// The search could not give what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FindError {
    /// The given directory's programs can't be used.
    #[error(transparent)]
    Given(#[from] Refused),
}

/// Looks for `wanted` as programs that `user` can run: on the PATH, where packagers put them,
/// then in the cache. What is installed goes before what was fetched, newer before older.
pub fn find(wanted: &Wanted, user: &OsUser, cache: &Cache) -> Result<Found, FindError> {
    let major = match wanted {
        Wanted::Newest => None,
        Wanted::Major(major) => Some(*major),
        Wanted::Directory(path) => {
            let below = path.join("bin");
            let bin_dir = if below.join("postgres").exists() {
                below
            } else {
                path.clone()
            };
            return Ok(Found {
                programs: Some(inspect(&bin_dir, user, Origin::Given)?),
                refused: Vec::new(),
            });
        }
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut refused = Vec::new();
    let installed = installed_directories(&path)
        .into_iter()
        .map(|directory| inspect(&directory, user, Origin::Installed));
    let programs = newest(installed, major, &mut refused).or_else(|| {
        let fetched: Vec<ServerPrograms> = MajorVersion::ALL
            .into_iter()
            .filter_map(|major| cache.bin_dir(major))
            .filter_map(
                |directory| match inspect(&directory, user, Origin::Fetched) {
                    Ok(programs) => Some(programs),
                    Err(reason) => {
                        refused.push(reason);
                        None
                    }
                },
            )
            .filter(|programs| major.is_none_or(|major| programs.major() == major))
            .collect();
        // Fetching one more version for a test does not change what an unqualified command uses.
        fetched
            .into_iter()
            .max_by_key(|programs| (programs.major() == DEFAULT_FETCHED, programs.version()))
    });
    Ok(Found { programs, refused })
}

fn newest(
    candidates: impl Iterator<Item = Result<ServerPrograms, Refused>>,
    major: Option<MajorVersion>,
    refused: &mut Vec<Refused>,
) -> Option<ServerPrograms> {
    let mut best: Option<ServerPrograms> = None;
    for candidate in candidates {
        match candidate {
            Ok(programs) if major.is_some_and(|major| programs.major() != major) => {}
            // The first of equals: the PATH is searched first.
            Ok(programs) => {
                if best
                    .as_ref()
                    .is_none_or(|best| programs.version() > best.version())
                {
                    best = Some(programs);
                }
            }
            Err(reason) => refused.push(reason),
        }
    }
    best
}

/// Directories that hold a `postgres`, links followed, each once, those on the PATH first.
fn installed_directories(path: &OsStr) -> Vec<PathBuf> {
    let on_path = std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .collect::<Vec<_>>();
    let versioned = VERSIONED_PLACES
        .into_iter()
        .flat_map(|(parent, prefix, below)| versions_below(Path::new(parent), prefix, below));
    let single = SINGLE_PLACES.into_iter().map(PathBuf::from);

    let mut seen = BTreeSet::new();
    on_path
        .into_iter()
        .chain(versioned)
        .chain(single)
        .filter_map(|directory| directory.join("postgres").canonicalize().ok())
        .filter_map(|postgres| postgres.parent().map(Path::to_path_buf))
        .filter(|directory| seen.insert(directory.clone()))
        .collect()
}

/// `parent/PREFIX*/below`, in the order of their names so that the outcome does not vary.
fn versions_below(parent: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut directories: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        })
        .map(|entry| entry.path().join(below))
        .collect();
    directories.sort();
    directories
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_link_on_the_path_leads_to_the_programs_beside_the_real_one() {
        let tree = tempfile::tempdir().expect("a directory");
        let real = tree.path().join("opt/pg 17/bin");
        let links = tree.path().join("links");
        fs::create_dir_all(&real).expect("made");
        fs::create_dir_all(&links).expect("made");
        fs::write(real.join("postgres"), "").expect("written");
        symlink(real.join("postgres"), links.join("postgres")).expect("linked");
        let path = std::env::join_paths([&links, &real]).expect("a PATH");
        let first = installed_directories(&path).into_iter().next();
        assert_eq!(first, Some(real.canonicalize().expect("there")));
    }

    /// A directory whose programs say what they are told to.
    fn pretend(version: &str, ssl_library: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let everybody = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(directory.path(), everybody(0o755)).expect("changed");
        for program in ["postgres", "initdb"] {
            let script = format!(
                "#!/bin/sh\n[ \"$1\" = -C ] && echo '{ssl_library}' || echo '{program} (PostgreSQL) {version}'\n"
            );
            let source = directory.path().join("source");
            fs::write(&source, script).expect("written");
            // Copied by a child: a program that any thread of ours still has open for writing,
            // through a fork at the wrong moment, can't be run.
            let path = directory.path().join(program);
            let copied = std::process::Command::new("install")
                .args(["-m", "755"])
                .args([&source, &path])
                .status();
            assert!(copied.expect("install runs").success());
        }
        directory
    }

    fn refusal(directory: &Path) -> super::super::Refusal {
        let user = OsUser::for_new_server().expect("a user");
        let FindError::Given(refused) = find(
            &Wanted::Directory(directory.to_path_buf()),
            &user,
            &Cache::at(PathBuf::from("/nonexistent")),
        )
        .expect_err("a refusal");
        refused.refusal
    }

    #[test]
    fn versions_outside_the_supported_and_builds_without_tls_are_refused() {
        use super::super::Refusal;
        for (version, major) in [("14.12", 14), ("9.6.24", 9), ("19beta2", 19)] {
            assert!(matches!(
                refusal(pretend(version, "OpenSSL").path()),
                Refusal::Unsupported(unsupported) if unsupported.major == major
            ));
        }
        assert!(matches!(
            refusal(pretend("18.4", "").path()),
            Refusal::WithoutTls { .. }
        ));
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(
            refusal(empty.path()),
            Refusal::Missing {
                program: "postgres"
            }
        );
        assert_eq!(refusal(Path::new("/nonexistent")), Refusal::NoDirectory);
    }

    #[test]
    fn the_newest_supported_programs_are_chosen_and_the_others_named() {
        let (old, new, unusable) = (
            pretend("16.3", "OpenSSL"),
            pretend("17.1", "OpenSSL"),
            pretend("14.1", "OpenSSL"),
        );
        let user = OsUser::for_new_server().expect("a user");
        let mut refused = Vec::new();
        let candidates = [&old, &unusable, &new]
            .map(|directory| inspect(directory.path(), &user, Origin::Installed));
        let best = newest(candidates.clone().into_iter(), None, &mut refused).expect("one");
        assert_eq!(best.major(), MajorVersion::V17);
        assert_eq!(refused.len(), 1);
        let sixteen = newest(
            candidates.into_iter(),
            Some(MajorVersion::V16),
            &mut refused,
        );
        assert_eq!(
            sixteen.expect("one").bin_dir(),
            old.path().canonicalize().expect("there")
        );
    }
}
