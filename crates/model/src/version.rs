//! PostgreSQL versions, and which of them a herd can be made of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A major version Manada supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum MajorVersion {
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

/// A major version outside 15 to 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL {major} is not supported: Manada works with 15, 16, 17 and 18")]
pub struct UnsupportedVersion {
    /// The major version that was met.
    pub major: u32,
}

impl MajorVersion {
    /// All that are supported, oldest first.
    pub const ALL: [MajorVersion; 4] = [
        MajorVersion::V15,
        MajorVersion::V16,
        MajorVersion::V17,
        MajorVersion::V18,
    ];

    /// The number as PostgreSQL says it.
    pub fn number(self) -> u32 {
        match self {
            MajorVersion::V15 => 15,
            MajorVersion::V16 => 16,
            MajorVersion::V17 => 17,
            MajorVersion::V18 => 18,
        }
    }
}

impl TryFrom<u32> for MajorVersion {
    type Error = UnsupportedVersion;

    fn try_from(major: u32) -> Result<Self, UnsupportedVersion> {
        MajorVersion::ALL
            .into_iter()
            .find(|version| version.number() == major)
            .ok_or(UnsupportedVersion { major })
    }
}

impl From<MajorVersion> for u32 {
    fn from(version: MajorVersion) -> u32 {
        version.number()
    }
}

impl fmt::Display for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// A server's full version: the number of `server_version_num`, such as 150018 for 15.18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerVersion(pub u32);

impl ServerVersion {
    /// The major version, where it is one that Manada supports.
    pub fn major(self) -> Result<MajorVersion, UnsupportedVersion> {
        MajorVersion::try_from(self.0 / 10_000)
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
    }
}
