//! Starting and stopping this node's server.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use manada_model::{StartFailure, StartTrouble};
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::process::{
    READY_WITHIN, RunningError, RunningServer, StartError, StartLog, StartOptions, StopError,
    StopMode, Stopped, running, start, stop, trouble_in,
};
use manada_postgres::programs::{Cache, CacheError, FindError, ServerPrograms, Wanted, find};

use crate::node::Node;

/// Where Debian's cluster tools have their servers log.
const DEBIAN_LOGS: &str = "/var/log/postgresql";

/// A node's server was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartNodeError {
    /// Nobody suitable.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The cache of programs can't be looked into.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The programs that made it are not there any more.
    #[error(transparent)]
    Programs(#[from] FindError),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Whether it runs can't be told.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// Debian's cluster tools can't be run.
    #[error("running {command}: {source}")]
    RunClusterTools {
        /// The command.
        command: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// They failed.
    #[error("{command} failed ({status}): {said}")]
    ClusterTools {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said, and the server.
        said: String,
    },
}

impl StartNodeError {
    /// Whether the server runs, and merely takes no connections yet.
    pub fn goes_on(&self) -> bool {
        matches!(self, StartNodeError::Start(StartError::NotReady { .. }))
    }

    /// What kept the server from starting.
    pub fn trouble(&self) -> StartTrouble {
        match self {
            StartNodeError::Start(error) => error.trouble(),
            StartNodeError::ClusterTools { said, .. } => trouble_in(said),
            StartNodeError::User(_)
            | StartNodeError::Cache(_)
            | StartNodeError::Programs(_)
            | StartNodeError::Running(_)
            | StartNodeError::RunClusterTools { .. } => StartTrouble {
                failure: StartFailure::NotRun,
                said: self.to_string(),
            },
        }
    }
}

/// What starting came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartedNode {
    /// It ran already.
    RanAlready(RunningServer),
    /// It runs now.
    Started(RunningServer),
}

/// Starts a node's server and waits until it takes connections. One that Debian's cluster tools
/// know is started by them. Blocks.
pub fn start_node(node: &Node) -> Result<StartedNode, StartNodeError> {
    start_node_within(node, READY_WITHIN)
}

/// As [`start_node`], with a bound of the caller's for how long it waits; the server goes on
/// starting after it.
pub fn start_node_within(
    node: &Node,
    ready_within: Duration,
) -> Result<StartedNode, StartNodeError> {
    let data_directory = &node.file.data_directory;
    if let Some(server) = running(data_directory)? {
        return Ok(StartedNode::RanAlready(server));
    }
    if let Some((version, cluster)) = debian_cluster(&node.file.config_file) {
        start_by_cluster_tools(version, cluster)?;
        if let Some(server) = running(data_directory)? {
            return Ok(StartedNode::Started(server));
        }
    }
    let user = node.user()?;
    let programs = programs(node, &user)?;
    let config_file = node.file.config_file.to_string_lossy().into_owned();
    let elsewhere = [("config_file", config_file.as_str())];
    let settings: &[(&str, &str)] = if node.file.config_file.starts_with(data_directory) {
        &[]
    } else {
        &elsewhere
    };
    Ok(StartedNode::Started(start(
        &programs,
        &StartOptions {
            data_directory,
            settings,
            log_file: &node.home.log_file(),
            ready_within,
        },
    )?))
}

/// Stops a node's server: clients are sent away, then a checkpoint is written. Blocks.
pub fn stop_node(node: &Node, mode: StopMode, within: Duration) -> Result<Stopped, StopError> {
    stop(&node.file.data_directory, mode, within)
}

/// The programs that the node was made with.
fn programs(node: &Node, user: &OsUser) -> Result<ServerPrograms, StartNodeError> {
    let wanted = Wanted::Directory(node.file.bin_dir.clone());
    let found = find(&wanted, user, &Cache::of_this_user()?)?;
    Ok(found
        .programs
        .expect("a given directory has programs, or is refused"))
}

/// Version and name, where the configuration lies where Debian's tools keep it.
fn debian_cluster(config_file: &Path) -> Option<(&OsStr, &OsStr)> {
    let below = config_file.strip_prefix("/etc/postgresql").ok()?;
    let parts: Vec<&OsStr> = below
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect();
    let tools = Path::new("/usr/bin/pg_ctlcluster").exists();
    match parts.as_slice() {
        [version, cluster, file] if *file == "postgresql.conf" && tools => Some((version, cluster)),
        _ => None,
    }
}

fn start_by_cluster_tools(version: &OsStr, cluster: &OsStr) -> Result<(), StartNodeError> {
    let command = format!(
        "pg_ctlcluster {} {} start",
        version.display(),
        cluster.display()
    );
    // Where systemd starts the cluster, the tools don't say what the server said.
    let log = Path::new(DEBIAN_LOGS).join(format!(
        "postgresql-{}-{}.log",
        version.display(),
        cluster.display()
    ));
    let log = StartLog::of_others(&log);
    let output = Command::new("pg_ctlcluster")
        .args([version, cluster, OsStr::new("start")])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| StartNodeError::RunClusterTools {
            command: command.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if let Ok(mut log) = log {
        said.push('\n');
        said.push_str(&log.tail());
    }
    Err(StartNodeError::ClusterTools {
        command,
        status: output.status,
        said,
    })
}
