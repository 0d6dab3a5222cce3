//! Where the real servers of each version come from.

use std::path::{Path, PathBuf};

use manada_model::MajorVersion;
use manada_postgres::os_user::OsUser;
use manada_postgres::programs::{Cache, Wanted, obtain};

/// What a test needs and this machine has not. A test that returns it is counted as ignored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Missing {
    what: String,
}

impl Missing {
    /// Names what is missing, and how to get it.
    pub fn new(what: impl Into<String>) -> Self {
        Missing { what: what.into() }
    }
}

/// The server programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    version: MajorVersion,
    bin: PathBuf,
}

impl Programs {
    /// Those of `version`: installed on this machine, or fetched as `manada` itself would.
    pub fn find(version: MajorVersion) -> Result<Programs, Missing> {
        let missing = |reason: &dyn std::error::Error| Missing::new(reason.to_string());
        let user = OsUser::for_new_server().map_err(|error| missing(&error))?;
        let cache = Cache::of_this_user().map_err(|error| missing(&error))?;
        let programs = obtain(&Wanted::Major(version), &user, &cache, &mut |_| {})
            .map_err(|error| missing(&error))?;
        Ok(Programs {
            version,
            bin: programs.bin_dir().to_path_buf(),
        })
    }

    /// Those of the oldest version this machine has, for tests to which the version is nothing.
    pub fn any() -> Result<Programs, Missing> {
        MajorVersion::ALL
            .into_iter()
            .find_map(|version| Programs::find(version).ok())
            .ok_or_else(|| Missing::new("no PostgreSQL server of 15 to 18"))
    }

    /// Their version.
    pub fn version(&self) -> MajorVersion {
        self.version
    }

    /// The directory they are in.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// One of them.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}
