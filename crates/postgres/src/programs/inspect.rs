//! Whether a directory's server programs can be used: they are run, not believed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Output;

use manada_model::{ServerVersion, UnsupportedVersion};

use super::{Origin, ServerPrograms};
use crate::os_user::OsUser;

/// A directory that was looked at and can't be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} can't be used: {refusal}", bin_dir.display())]
pub struct Refused {
    /// The directory.
    pub bin_dir: PathBuf,
    /// The reason.
    pub refusal: Refusal,
}

/// Why a directory's server programs can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The directory is not there.
    NoDirectory,
    /// One of the two programs is missing.
    Missing {
        /// `postgres` or `initdb`.
        program: &'static str,
    },
    /// A program does not run as the user that would run the server.
    DoesNotRun {
        /// The program.
        program: &'static str,
        /// Whom it was run as.
        user: String,
        /// The end of what was said.
        said: String,
    },
    /// `postgres --version` says something else than a version.
    NoVersion {
        /// What it says.
        said: String,
    },
    /// Older than 15 or newer than 18.
    Unsupported(UnsupportedVersion),
    /// The programs beside each other are of different versions.
    Mixed {
        /// The server's.
        postgres: ServerVersion,
        /// `initdb`'s.
        initdb: ServerVersion,
    },
    /// Built without TLS, which a herd's connections need.
    WithoutTls {
        /// The version.
        version: ServerVersion,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoDirectory => f.write_str("there is no such directory"),
            Refusal::Missing { program } => write!(
                f,
                "it has no {program}; name the directory that holds both postgres and initdb"
            ),
            Refusal::DoesNotRun {
                program,
                user,
                said,
            } => write!(f, "{program} does not run as user {user}: {said}"),
            Refusal::NoVersion { said } => {
                write!(f, "postgres --version says {said:?}, which is no version")
            }
            Refusal::Unsupported(unsupported) => write!(
                f,
                "{unsupported}; install one of them, or give another directory or version with --pg"
            ),
            Refusal::Mixed { postgres, initdb } => write!(
                f,
                "its postgres is {postgres} but its initdb is {initdb}; reinstall the package"
            ),
            Refusal::WithoutTls { version } => write!(
                f,
                "PostgreSQL {version} was built here without TLS, which the herd's connections need; \
                 use a build configured --with-ssl=openssl"
            ),
        }
    }
}

/// Runs the programs of `bin_dir` as `user` and takes them if all is well.
pub(super) fn inspect(
    bin_dir: &Path,
    user: &OsUser,
    origin: Origin,
) -> Result<ServerPrograms, Refused> {
    let refused = |refusal| Refused {
        bin_dir: bin_dir.to_path_buf(),
        refusal,
    };
    let bin_dir = bin_dir
        .canonicalize()
        .map_err(|_| refused(Refusal::NoDirectory))?;
    let postgres = version_of(&bin_dir, "postgres", user).map_err(refused)?;
    let major = postgres
        .major()
        .map_err(|unsupported| refused(Refusal::Unsupported(unsupported)))?;
    let initdb = version_of(&bin_dir, "initdb", user).map_err(refused)?;
    if initdb != postgres {
        return Err(refused(Refusal::Mixed { postgres, initdb }));
    }
    // `-C` needs a directory to look into and a configuration; an empty one says enough.
    let ssl_library = run(
        &bin_dir,
        "postgres",
        &[
            "-C",
            "ssl_library",
            "-D",
            "/",
            "-c",
            "config_file=/dev/null",
        ],
        user,
    )
    .map_err(refused)?;
    if ssl_library.trim().is_empty() {
        return Err(refused(Refusal::WithoutTls { version: postgres }));
    }
    Ok(ServerPrograms {
        bin_dir,
        version: postgres,
        major,
        origin,
    })
}

fn version_of(
    bin_dir: &Path,
    program: &'static str,
    user: &OsUser,
) -> Result<ServerVersion, Refusal> {
    let said = run(bin_dir, program, &["--version"], user)?;
    parse_version(&said).ok_or_else(|| Refusal::NoVersion { said: tail(&said) })
}

fn run(
    bin_dir: &Path,
    program: &'static str,
    arguments: &[&str],
    user: &OsUser,
) -> Result<String, Refusal> {
    let path = bin_dir.join(program);
    if !path.exists() {
        return Err(Refusal::Missing { program });
    }
    let does_not_run = |said: String| Refusal::DoesNotRun {
        program,
        user: user.name().to_owned(),
        said,
    };
    let Output {
        status,
        stdout,
        stderr,
    } = user
        .command(&path)
        .args(arguments)
        .output()
        .map_err(|error| does_not_run(error.to_string()))?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(does_not_run(tail(&String::from_utf8_lossy(&stderr))))
    }
}

/// The version in what `postgres --version` prints, such as
/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; betas count as minor version 0.
fn parse_version(said: &str) -> Option<ServerVersion> {
    let (_, after) = said.split_once("(PostgreSQL) ")?;
    let word = after.split_whitespace().next()?;
    let digits = |text: &str| -> Option<u32> {
        let end = text
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse().ok()
    };
    let major = digits(word)?;
    let minor = match word.split_once('.') {
        Some((_, minor)) => digits(minor)?,
        None => 0,
    };
    // Before 10 the major version had two parts; all of those are refused as what they begin with.
    (major < 1_000 && minor < 10_000).then(|| ServerVersion(major * 10_000 + minor))
}

/// The end of a program's output, short enough for a message.
fn tail(said: &str) -> String {
    const CHARACTERS_MAX: usize = 400;
    let said = said.trim();
    let skipped = said.chars().count().saturating_sub(CHARACTERS_MAX);
    said.chars().skip(skipped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_read_as_packagers_print_them() {
        for (said, number) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                150_018,
            ),
            ("postgres (PostgreSQL) 17.10\n", 170_010),
            ("initdb (PostgreSQL) 18.4\n", 180_004),
            ("postgres (PostgreSQL) 19beta1\n", 190_000),
            ("postgres (PostgreSQL) 18devel", 180_000),
            ("postgres (PostgreSQL) 9.6.24", 90_006),
        ] {
            assert_eq!(parse_version(said), Some(ServerVersion(number)), "{said}");
        }
        for said in ["", "postgres", "mysqld  Ver 8.0", "postgres (PostgreSQL) x"] {
            assert_eq!(parse_version(said), None, "{said}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_program_says_is_survived(said in "(postgres \\(PostgreSQL\\) )?\\PC{0,40}") {
            if let Some(version) = parse_version(&said) {
                prop_assert!(version.0 < 10_000_000);
            }
        }

        #[test]
        fn every_released_version_is_read(major in 10u32..100, minor in 0u32..100) {
            let said = format!("postgres (PostgreSQL) {major}.{minor} (Some Packager 1.2-3)");
            prop_assert_eq!(parse_version(&said), Some(ServerVersion(major * 10_000 + minor)));
        }
    }
}
