//! Who watches over a server: one that systemd started must also be restarted by it.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::process::{Command, Stdio};

use super::command_line::CommandLine;
use super::running::RunningServer;
use crate::os_user::we_are_root;

/// What started a server and expects to be asked when it is to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supervisor {
    /// A unit of the machine's systemd.
    Systemd {
        /// The unit.
        unit: String,
    },
    /// A unit of one user's systemd.
    UserSystemd {
        /// The unit.
        unit: String,
        /// The user's number.
        uid: u32,
    },
    /// Debian's cluster tools.
    PgCtlCluster {
        /// The major version, as in `/etc/postgresql/15/main`.
        version: String,
        /// The cluster's name.
        cluster: String,
    },
}

impl Supervisor {
    /// The program and arguments that restart its server.
    pub fn restart_command(&self) -> (&'static str, Vec<String>) {
        match self {
            Supervisor::Systemd { unit } | Supervisor::UserSystemd { unit, .. } => {
                let mut arguments = self.which_systemd();
                arguments.extend(["restart".to_owned(), unit.clone()]);
                ("systemctl", arguments)
            }
            Supervisor::PgCtlCluster { version, cluster } => (
                "pg_ctlcluster",
                vec![version.clone(), cluster.clone(), "restart".into()],
            ),
        }
    }

    /// What tells `systemctl` which systemd is meant.
    fn which_systemd(&self) -> Vec<String> {
        match self {
            Supervisor::UserSystemd { uid, .. } if we_are_root() => {
                vec!["--user".into(), format!("--machine={uid}@.host")]
            }
            Supervisor::UserSystemd { .. } => vec!["--user".into()],
            Supervisor::Systemd { .. } | Supervisor::PgCtlCluster { .. } => Vec::new(),
        }
    }

    /// Who watches over a running server, if somebody does.
    pub fn of(server: &RunningServer) -> Option<Supervisor> {
        systemd_of(server).or_else(|| cluster_tools_of(server))
    }
}

impl fmt::Display for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, arguments) = self.restart_command();
        write!(f, "{program} {}", arguments.join(" "))
    }
}

fn systemd_of(server: &RunningServer) -> Option<Supervisor> {
    let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", server.pid)).ok()?;
    let (unit, is_user) = unit_in(&cgroups)?;
    let uid = fs::metadata(format!("/proc/{}", server.pid)).ok()?.uid();
    let supervisor = if is_user {
        let unit = unit.clone();
        Supervisor::UserSystemd { unit, uid }
    } else {
        Supervisor::Systemd { unit: unit.clone() }
    };
    let output = Command::new("systemctl")
        .args(supervisor.which_systemd())
        .args(["show", "--property=MainPID", "--value", &unit])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let main_process: i32 = str::from_utf8(&output.stdout).ok()?.trim().parse().ok()?;
    // Whatever a service starts lies in its control group: only its main process is its server.
    (main_process == server.pid).then_some(supervisor)
}

/// The service a process belongs to by `/proc/PID/cgroup`, and whether it is a user's own.
fn unit_in(cgroups: &str) -> Option<(String, bool)> {
    cgroups
        .lines()
        .filter_map(|line| {
            let (hierarchy, path) = line.split_once("::").or_else(|| {
                let (_, rest) = line.split_once(':')?;
                rest.split_once(':')
            })?;
            (hierarchy == "0" || hierarchy == "name=systemd").then_some(path)
        })
        .find_map(|path| {
            let (above, unit) = path.rsplit_once('/')?;
            let is_user = above
                .split('/')
                .any(|part| part.starts_with("user@") && part.ends_with(".service"));
            unit.ends_with(".service")
                .then(|| (unit.to_owned(), is_user))
        })
}

fn cluster_tools_of(server: &RunningServer) -> Option<Supervisor> {
    let line = CommandLine::of_process(server.pid).ok()??;
    let supervisor = line.arguments.iter().find_map(|word| cluster_in(word))?;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .any(|directory| directory.join("pg_ctlcluster").exists())
        .then_some(supervisor)
}

/// The cluster whose configuration an argument names: `config_file=/etc/postgresql/15/main/…`.
fn cluster_in(argument: &OsStr) -> Option<Supervisor> {
    let file = argument.to_str()?.strip_prefix("config_file=")?;
    let below = Path::new(file).strip_prefix("/etc/postgresql").ok()?;
    let mut names = below.components().map(|component| match component {
        Component::Normal(name) => name.to_str(),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            None
        }
    });
    let supervisor = Supervisor::PgCtlCluster {
        version: names.next()??.to_owned(),
        cluster: names.next()??.to_owned(),
    };
    (names.next()?? == "postgresql.conf" && names.next().is_none()).then_some(supervisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_service_of_a_process_is_read_from_its_control_group() {
        let debian = "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n";
        assert_eq!(
            unit_in(debian),
            Some(("postgresql@15-main.service".to_owned(), false))
        );
        let old = "12:cpu:/x.service\n1:name=systemd:/system.slice/postgresql-15.service\n";
        assert_eq!(
            unit_in(old),
            Some(("postgresql-15.service".to_owned(), false))
        );
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/pg.service\n";
        assert_eq!(unit_in(user), Some(("pg.service".to_owned(), true)));
        for none in [
            "0::/\n",
            "0::/user.slice/user-1000.slice/session-2.scope\n",
            "4:memory:/a.service\n",
            "",
        ] {
            assert_eq!(unit_in(none), None, "{none}");
        }
    }

    #[test]
    fn a_debian_cluster_is_read_from_its_configuration_file() {
        let named = |word: &str| cluster_in(OsStr::new(word)).map(|found| found.to_string());
        assert_eq!(
            named("config_file=/etc/postgresql/15/main/postgresql.conf").as_deref(),
            Some("pg_ctlcluster 15 main restart")
        );
        for other in [
            "config_file=/etc/postgresql/15/main/other.conf",
            "config_file=/etc/postgresql/15/postgresql.conf",
            "config_file=/etc/postgresql/15/main/more/postgresql.conf",
            "config_file=/etc/postgresql/../main/postgresql.conf",
            "config_file=/srv/15/main/postgresql.conf",
            "/etc/postgresql/15/main/postgresql.conf",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(0::|1:name=systemd:|config_file=/etc/postgresql/)?\\PC{0,40}") {
            unit_in(&text);
            cluster_in(OsStr::new(&text));
        }
    }
}
