//! A data directory for which Debian's tools keep the configuration elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use manada_postgres::os_user::OsUser;
use manada_postgres::programs::ServerPrograms;

use super::checks::Obstacle;
use crate::admission::PrimaryFacts;
use crate::managed::STANDBY_LIMITS;

/// Where they keep it: `/etc/postgresql/15/main/postgresql.conf`.
const CLUSTERS: &str = "/etc/postgresql";

/// A configuration that is there already and names the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DebianCluster {
    pub(super) config_file: PathBuf,
    pub(super) hba_file: PathBuf,
    pub(super) socket_directory: PathBuf,
    /// By name; those of [`STANDBY_LIMITS`].
    limits: BTreeMap<&'static str, u32>,
}

impl DebianCluster {
    /// The cluster whose data directory this is, if there is one. The server program itself reads
    /// the files, so that their includes count.
    pub(super) fn of(
        data_directory: &Path,
        programs: &ServerPrograms,
        user: &OsUser,
    ) -> Option<DebianCluster> {
        let version = Path::new(CLUSTERS).join(programs.major().to_string());
        let clusters = fs::read_dir(version).ok()?;
        clusters.flatten().find_map(|cluster| {
            let config_file = cluster.path().join("postgresql.conf");
            let ask = |name: &str| setting(&config_file, name, programs, user);
            if Path::new(&ask("data_directory")?) != data_directory {
                return None;
            }
            let sockets = ask("unix_socket_directories")?;
            let socket_directory = sockets.split(',').next()?.trim().into();
            let limits = STANDBY_LIMITS
                .into_iter()
                .filter_map(|name| Some((name, ask(name)?.parse().ok()?)))
                .collect();
            Some(DebianCluster {
                hba_file: ask("hba_file")?.into(),
                config_file,
                socket_directory,
                limits,
            })
        })
    }

    /// Proves that none of its limits keeps a standby from starting.
    pub(super) fn has_room_for(&self, facts: &PrimaryFacts) -> Result<(), Obstacle> {
        for (name, here) in &self.limits {
            let primary = facts.settings.get(*name).and_then(|it| it.parse().ok());
            if let Some(primary) = primary
                && *here < primary
            {
                return Err(Obstacle::LimitTooSmall {
                    name,
                    here: *here,
                    primary,
                    config_file: self.config_file.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The value of one setting in a configuration that no server has open.
fn setting(
    config_file: &Path,
    name: &str,
    programs: &ServerPrograms,
    user: &OsUser,
) -> Option<String> {
    let output = user
        .command(programs.postgres())
        .args(["-C", name, "-c"])
        .arg(format!("config_file={}", config_file.display()))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.trim_end_matches('\n').to_owned())
}
