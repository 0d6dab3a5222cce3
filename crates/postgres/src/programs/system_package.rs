//! The one package to install where no server build could be fetched, and its installation.

use std::fmt;
use std::fs;
use std::io;
use std::process::{Command, ExitStatus, Stdio};

use manada_model::MajorVersion;

use crate::os_user::we_are_root;

/// What this machine's own package manager has to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemPackage {
    /// A Debian package.
    Apt {
        /// Its name.
        package: String,
        /// Its version of PostgreSQL.
        major: MajorVersion,
    },
    /// A command that installs a server of some version.
    Command(&'static str),
    /// The operating system is unknown, or has only versions that are not supported.
    Elsewhere {
        /// What was asked for.
        major: MajorVersion,
    },
}

/// A package could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not a package that we install.
    #[error("nothing is installed here without being asked: {remedy}")]
    NotOffered {
        /// What can be done by hand.
        remedy: SystemPackage,
    },
    /// apt-get can't be run.
    #[error("can't run apt-get")]
    Run(#[source] io::Error),
    /// apt-get failed.
    #[error("apt-get install {package} failed ({status}): {said}")]
    Failed {
        /// The package.
        package: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
}

/// That the person whose machine it is agreed to the installation of a system package.
#[derive(Clone, Copy, Debug)]
pub struct Consent(());

impl Consent {
    /// Call this only where they were asked, or said `--yes`.
    pub fn given_by_the_user() -> Consent {
        Consent(())
    }
}

impl SystemPackage {
    /// What to install here for PostgreSQL `major`, or for another supported version where the
    /// system has not that one.
    pub fn of_this_machine(major: MajorVersion) -> SystemPackage {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let kin = kin_of(&release);
        if kin.iter().any(|id| id == "debian" || id == "ubuntu") {
            let offered = offered_by_apt();
            let chosen = [major]
                .into_iter()
                .chain(MajorVersion::ALL.into_iter().rev())
                .find(|major| offered.contains(major));
            return match chosen {
                Some(major) => SystemPackage::Apt {
                    package: format!("postgresql-{major}"),
                    major,
                },
                None => SystemPackage::Elsewhere { major },
            };
        }
        let commands = [
            ("fedora", "dnf install postgresql-server"),
            ("rhel", "dnf install postgresql-server"),
            ("arch", "pacman -S postgresql"),
            ("suse", "zypper install postgresql-server"),
            ("alpine", "apk add postgresql"),
        ];
        commands
            .into_iter()
            .find(|(id, _)| kin.iter().any(|ours| ours == id))
            .map_or(SystemPackage::Elsewhere { major }, |(_, command)| {
                SystemPackage::Command(command)
            })
    }

    /// Whether we could install it: a Debian package, as root.
    pub fn can_be_installed(&self) -> bool {
        match self {
            SystemPackage::Apt { .. } => we_are_root(),
            SystemPackage::Command(_) | SystemPackage::Elsewhere { .. } => false,
        }
    }

    /// Installs it. Debian then also makes and starts a server of its own, `main`, on port 5432.
    pub fn install(&self, _consent: Consent) -> Result<(), InstallError> {
        let SystemPackage::Apt { package, .. } = self else {
            return Err(InstallError::NotOffered {
                remedy: self.clone(),
            });
        };
        let output = Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(InstallError::Run)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(InstallError::Failed {
            package: package.clone(),
            status: output.status,
            said,
        })
    }
}

impl fmt::Display for SystemPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SystemPackage::Apt { package, .. } => {
                write!(f, "install it with: apt-get install {package}")
            }
            SystemPackage::Command(command) => write!(f, "install it with: {command}"),
            SystemPackage::Elsewhere { major } => write!(
                f,
                "install a PostgreSQL {major} server from postgresql.org/download and name its bin directory with --pg"
            ),
        }
    }
}

/// The distribution's id and those it descends from.
fn kin_of(os_release: &str) -> Vec<String> {
    os_release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| *key == "ID" || *key == "ID_LIKE")
        .flat_map(|(_, value)| value.trim_matches(['"', '\'']).split_whitespace())
        .map(str::to_owned)
        .collect()
}

fn offered_by_apt() -> Vec<MajorVersion> {
    let output = Command::new("apt-cache")
        .args(["search", "--names-only", "^postgresql-[0-9]+$"])
        .stdin(Stdio::null())
        .output();
    // Without apt-cache nothing is offered.
    output.map_or(Vec::new(), |output| {
        versions_offered(&String::from_utf8_lossy(&output.stdout))
    })
}

fn versions_offered(packages: &str) -> Vec<MajorVersion> {
    packages
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter_map(|package| package.strip_prefix("postgresql-"))
        .filter_map(|number| number.parse::<u32>().ok())
        .filter_map(|number| MajorVersion::try_from(number).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_distributions_kin_are_read() {
        let text = "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\nX\n";
        assert_eq!(kin_of(text), ["linuxmint", "ubuntu", "debian"]);
    }

    #[test]
    fn supported_versions_are_told_from_others() {
        let text = "postgresql-13 - old\npostgresql-17 - server\npostgresql-17-cron - extension\n\npostgresql-99 - new\n";
        assert_eq!(versions_offered(text), [MajorVersion::V17]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(ID=)?\\PC{0,30}\n\\PC{0,30}") {
            kin_of(&text);
            versions_offered(&text);
        }
    }
}
