//! Where the real servers of each version come from.

use std::path::{Path, PathBuf};

use manada_model::MajorVersion;

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
    /// Those of `version`, if this machine has them.
    pub fn find(version: MajorVersion) -> Result<Programs, Missing> {
        let bin = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
        if bin.join("postgres").exists() && bin.join("initdb").exists() {
            Ok(Programs { version, bin })
        } else {
            Err(Missing::new(format!(
                "no PostgreSQL {version} in {}: install Debian's package postgresql-{version}",
                bin.display()
            )))
        }
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
