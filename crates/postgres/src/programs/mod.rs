//! The server programs of one PostgreSQL version: found on this machine, or fetched.

mod artefacts;
mod cache;
mod download;
mod fetch;
mod find;
mod inspect;
mod system_package;
mod unpack;

pub use artefacts::Artefact;
pub use cache::{Cache, CacheError};
pub use download::DownloadError;
pub use fetch::{AttemptError, FetchError, FetchStep, fetch};
pub use find::{FindError, Found, find};
pub use inspect::{Refusal, Refused};
pub use system_package::{Consent, InstallError, SystemPackage};
pub use unpack::UnpackError;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use manada_model::{MajorVersion, ServerVersion};

use crate::os_user::OsUser;

/// A directory with `postgres` and `initdb` that were seen to run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPrograms {
    bin_dir: PathBuf,
    version: ServerVersion,
    major: MajorVersion,
    origin: Origin,
}

/// Where server programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The directory was given by the user.
    Given,
    /// Somebody installed them on this machine.
    Installed,
    /// Manada fetched them into its cache.
    Fetched,
}

impl ServerPrograms {
    /// The directory, with links followed: `share` and `lib` are found from here.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The server's path.
    pub fn postgres(&self) -> PathBuf {
        self.bin_dir.join("postgres")
    }

    /// The path of the program that makes data directories.
    pub fn initdb(&self) -> PathBuf {
        self.bin_dir.join("initdb")
    }

    /// The full version.
    pub fn version(&self) -> ServerVersion {
        self.version
    }

    /// The major version, one of those Manada supports.
    pub fn major(&self) -> MajorVersion {
        self.major
    }

    /// Where they come from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}

/// Which server programs are wanted: the value of `--pg`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The newest supported version that runs on this machine.
    #[default]
    Newest,
    /// One major version, wherever it is.
    Major(MajorVersion),
    /// The programs in this directory (or in its `bin`), and no others.
    Directory(PathBuf),
}

/// The text names no server programs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseWantedError {
    /// A version that Manada does not work with.
    #[error(transparent)]
    Unsupported(#[from] manada_model::UnsupportedVersion),
    /// Neither a version nor a path.
    #[error("{text:?} is neither 15, 16, 17 or 18 nor the path of a directory with postgres in it")]
    Neither {
        /// What was given.
        text: String,
    },
}

impl FromStr for Wanted {
    type Err = ParseWantedError;

    /// A number is a major version; what has a `/` in it, or is `.` or `..`, is a directory.
    fn from_str(text: &str) -> Result<Wanted, ParseWantedError> {
        if let Ok(number) = text.parse::<u32>() {
            return Ok(Wanted::Major(MajorVersion::try_from(number)?));
        }
        if text.contains('/') || text == "." || text == ".." {
            return Ok(Wanted::Directory(PathBuf::from(text)));
        }
        Err(ParseWantedError::Neither {
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Newest => f.write_str("the newest supported PostgreSQL"),
            Wanted::Major(major) => write!(f, "PostgreSQL {major}"),
            Wanted::Directory(path) => write!(f, "the PostgreSQL in {}", path.display()),
        }
    }
}

/// No server programs could be had.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// The given directory's can't be used.
    #[error(transparent)]
    Find(#[from] FindError),
    /// None are installed, and none could be fetched.
    #[error("{fetch}{}", list(refused))]
    Fetch {
        /// Why not.
        fetch: FetchError,
        /// What is installed and can't be used.
        refused: Vec<Refused>,
    },
}

fn list(refused: &[Refused]) -> String {
    refused
        .iter()
        .map(|refused| format!("\n  - {refused}"))
        .collect()
}

/// Finds `wanted` on this machine or in the cache, else fetches it: the way from `--pg` to
/// programs that run. Blocks; `progress` is called while something is fetched.
pub fn obtain(
    wanted: &Wanted,
    user: &OsUser,
    cache: &Cache,
    progress: &mut dyn FnMut(FetchStep),
) -> Result<ServerPrograms, ObtainError> {
    let found = find(wanted, user, cache)?;
    if let Some(programs) = found.programs {
        return Ok(programs);
    }
    let major = match wanted {
        Wanted::Major(major) => Some(*major),
        Wanted::Newest | Wanted::Directory(_) => None,
    };
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    fetch(major, user, cache, &search_path, progress).map_err(|fetch| ObtainError::Fetch {
        fetch,
        refused: found.refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_version_or_a_directory_is_wanted() {
        assert_eq!("16".parse(), Ok(Wanted::Major(MajorVersion::V16)));
        assert_eq!("./16".parse(), Ok(Wanted::Directory("./16".into())));
        assert!(matches!(
            "14".parse::<Wanted>(),
            Err(ParseWantedError::Unsupported(unsupported)) if unsupported.major == 14
        ));
        assert!(matches!(
            "newest".parse::<Wanted>(),
            Err(ParseWantedError::Neither { .. })
        ));
    }

    proptest! {
        #[test]
        fn only_supported_numbers_and_paths_are_taken(text in "\\PC{0,20}") {
            match text.parse::<Wanted>() {
                Ok(Wanted::Major(major)) => prop_assert_eq!(text.parse(), Ok(major.number())),
                Ok(Wanted::Directory(path)) => prop_assert_eq!(path, PathBuf::from(text)),
                Ok(Wanted::Newest) => prop_assert!(false, "nothing asks for the default"),
                Err(_) => {}
            }
        }
    }
}
