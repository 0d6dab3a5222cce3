//! What a change of the policy would do, before anything is done.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use manada_model::{
    Node, NodeState, Role, StandbyName, SyncMethod, SyncPolicy, SynchronousCommit,
    SynchronousCommitOverride, Visible, WalsenderState,
};
use manada_postgres::Session;
use manada_postgres::session::server_message;
use manada_postgres::settings::FILE_NAME;

use crate::probe::ask;
use crate::survey::Explored;

/// The parameter.
pub(super) const PARAMETER: &str = "synchronous_standby_names";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyRequest {
    /// Commits shall wait for nobody.
    Off,
    /// Commits shall wait.
    Wait {
        /// For which of the names.
        method: SyncMethod,
        /// For how many.
        count: NonZeroU32,
        /// The names; empty for all standbys there are.
        names: Vec<StandbyName>,
    },
}

/// A change of the policy, thought through.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyPlan {
    /// The primary's name.
    pub primary: String,
    /// `synchronous_standby_names` now.
    pub current: String,
    /// What it will be.
    pub wanted: SyncPolicy,
    /// Whether the names were chosen here: all standbys there are.
    pub names_chosen: bool,
    /// The standbys of the wanted policy that stream now.
    pub streaming: Vec<String>,
    /// Its names for which nobody streams.
    pub missing: Vec<String>,
    /// Where the setting is written.
    pub place: Place,
    /// The default of `synchronous_commit` by which commits pass the policy by, if it is one.
    pub bypassed_by: Option<SynchronousCommit>,
    /// Roles and databases whose own default passes the policy by.
    pub bypassing: Vec<SynchronousCommitOverride>,
}

/// Where `synchronous_standby_names` is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the `manada.conf` that the server includes.
    ManagedFile(PathBuf),
    /// With `ALTER SYSTEM`: the server is not one of Manada's.
    AlterSystem,
}

/// There is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nobody takes writes, or more than one does.
    #[error("there must be one primary, and {primaries} answered")]
    NotOnePrimary {
        /// How many answered.
        primaries: usize,
    },
    /// The role may not change it.
    #[error("changing what commits wait for needs a superuser on {primary}")]
    NotSuperuser {
        /// The primary.
        primary: String,
    },
    /// No names were given, and there is no standby to take them from.
    #[error("no standby of {primary} is known whose name commits could wait for")]
    NoStandby {
        /// The primary.
        primary: String,
    },
    /// Something that wins over the place where it would be written.
    #[error("{PARAMETER} on {primary} is set by {by}, which wins over {over}")]
    Overridden {
        /// The primary.
        primary: String,
        /// What sets it.
        by: Overriding,
        /// What would be written.
        over: String,
    },
    /// The server's `manada.conf` is not a file of this host.
    #[error("{primary} is a node of a herd, and its {} is not on this host", path.display())]
    Elsewhere {
        /// The primary.
        primary: String,
        /// The file.
        path: PathBuf,
    },
    /// The server refused a question.
    #[error(
        "{primary} did not say where its settings come from: {}",
        server_message(source)
    )]
    Query {
        /// The primary.
        primary: String,
        /// Its word.
        source: tokio_postgres::Error,
    },
}

/// What wins over a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overriding {
    /// `ALTER SYSTEM` (`postgresql.auto.conf`).
    AlterSystem,
    /// An argument of the server program.
    CommandLine,
}

impl std::fmt::Display for Overriding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Overriding::AlterSystem => "ALTER SYSTEM",
            Overriding::CommandLine => "an argument of the server program",
        })
    }
}

impl PolicyPlan {
    /// How many standbys a commit will wait for.
    pub fn needed(&self) -> usize {
        let count = self.wanted.rule().map_or(0, |rule| rule.count.get());
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Whether writes would hang as soon as it is in force.
    pub fn hangs_at_once(&self) -> bool {
        self.streaming.len() < self.needed()
    }

    /// How many of the streaming standbys may stop before writes hang; `None` where none waits.
    pub fn spare(&self) -> Option<usize> {
        self.wanted.rule()?;
        Some(self.streaming.len().saturating_sub(self.needed()))
    }

    /// Whether the setting stands so already.
    pub fn changes_nothing(&self) -> bool {
        self.current.parse::<SyncPolicy>().as_ref() == Ok(&self.wanted)
    }
}

/// Plans `request` for the herd as it was found; `session` is a superuser's on the primary.
pub async fn plan(
    herd: &Explored,
    session: &Session,
    request: &PolicyRequest,
) -> Result<PolicyPlan, PlanError> {
    let status = &herd.status;
    let primaries = status.nodes.iter().filter(|node| node.primary().is_some());
    let (Some(node), 1) = (status.primary(), primaries.clone().count()) else {
        return Err(PlanError::NotOnePrimary {
            primaries: primaries.count(),
        });
    };
    let server = node.status().expect("a primary has answered");
    if !server.rights.superuser {
        return Err(PlanError::NotSuperuser {
            primary: node.name.clone(),
        });
    }
    let (wanted, names_chosen) = wanted(request, herd, node)?;
    let streaming = streaming_names(node);
    let rule = wanted.rule();
    let counted: Vec<String> = streaming
        .iter()
        .filter(|name| rule.is_some_and(|rule| rule.priority_of(name).is_some()))
        .cloned()
        .collect();
    let missing = rule.map_or_else(Vec::new, |rule| {
        let absent = |name: &&StandbyName| !counted.iter().any(|present| name.matches(present));
        let names = rule.names.iter().filter(absent);
        names.map(|name| name.as_str().to_owned()).collect()
    });
    let waits = rule.is_some();
    let bypasses = |level: SynchronousCommit| waits && level < SynchronousCommit::RemoteWrite;
    let setting = &server.policy;
    Ok(PolicyPlan {
        primary: node.name.clone(),
        current: setting.standby_names.clone(),
        names_chosen,
        streaming: counted,
        missing,
        place: place(session, &node.name).await?,
        bypassed_by: Some(setting.synchronous_commit).filter(|level| bypasses(*level)),
        bypassing: setting
            .overrides
            .iter()
            .filter(|found| bypasses(found.value))
            .cloned()
            .collect(),
        wanted,
    })
}

fn wanted(
    request: &PolicyRequest,
    herd: &Explored,
    primary: &Node,
) -> Result<(SyncPolicy, bool), PlanError> {
    let (method, count, given) = match request {
        PolicyRequest::Off => return Ok((SyncPolicy::Off, false)),
        PolicyRequest::Wait {
            method,
            count,
            names,
        } => (*method, *count, names),
    };
    let names = if given.is_empty() {
        standby_names(herd, primary)
    } else {
        given.clone()
    };
    if names.is_empty() {
        return Err(PlanError::NoStandby {
            primary: primary.name.clone(),
        });
    }
    let policy = match method {
        SyncMethod::First => SyncPolicy::first(count, names),
        SyncMethod::Any => SyncPolicy::any(count, names),
    };
    Ok((policy, given.is_empty()))
}

/// The names of all direct standbys: those that stream now, then members that are away. A receiver
/// without a database (it never replays) and a standby of a standby are none.
fn standby_names(herd: &Explored, primary: &Node) -> Vec<StandbyName> {
    let mut names = Vec::new();
    let mut add = |name: &str| {
        let name = StandbyName::new(name);
        if !name.is_wildcard() && !name.as_str().is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    let walsenders = primary.status().into_iter().flat_map(|s| &s.walsenders);
    for walsender in walsenders {
        let progress = walsender.progress.shown();
        if progress.is_some_and(|progress| progress.replay_lsn.is_some()) {
            add(&walsender.application_name);
        }
    }
    let members = primary.status().into_iter().flat_map(|s| &s.members);
    for member in members {
        let node = herd.status.node(&member.name);
        let cascades = node
            .and_then(|node| node.upstream.as_ref()?.node.as_ref())
            .is_some_and(|upstream| *upstream != primary.name);
        let away = node.is_none_or(|node| match &node.state {
            NodeState::Answered(_) => node.role() == Role::Standby,
            NodeState::Unreachable { .. } | NodeState::SeenByUpstream => true,
        });
        if member.name != primary.name && away && !cascades {
            add(&member.name);
        }
    }
    names
}

fn streaming_names(primary: &Node) -> Vec<String> {
    let walsenders = primary.status().into_iter().flat_map(|s| &s.walsenders);
    walsenders
        .filter(|walsender| match &walsender.progress {
            Visible::Shown(progress) => progress.state == WalsenderState::Streaming,
            Visible::Hidden => false,
        })
        .map(|walsender| walsender.application_name.clone())
        .collect()
}

/// Where the setting belongs, and whether anything wins over it there.
async fn place(session: &Session, primary: &str) -> Result<Place, PlanError> {
    let query = format!(
        "SELECT (SELECT source FROM pg_settings WHERE name = '{PARAMETER}'), \
         (SELECT min(sourcefile) FROM pg_file_settings WHERE sourcefile LIKE '%/{FILE_NAME}'), \
         EXISTS (SELECT FROM pg_file_settings WHERE name = '{PARAMETER}' \
           AND sourcefile LIKE '%/postgresql.auto.conf'), \
         current_setting('data_directory'), pg_read_file('postmaster.pid')"
    );
    let rows = ask(session, &query)
        .await
        .map_err(|source| PlanError::Query {
            primary: primary.to_owned(),
            source,
        })?;
    let row = rows.into_iter().next().unwrap_or_default();
    let [source, managed, altered, data_directory, pid_file] =
        <[String; 5]>::try_from(row).unwrap_or_default();
    let overridden = |by, over: &str| PlanError::Overridden {
        primary: primary.to_owned(),
        by,
        over: over.to_owned(),
    };
    if source == "command line" {
        return Err(overridden(Overriding::CommandLine, "every file"));
    }
    if managed.is_empty() {
        return Ok(Place::AlterSystem);
    }
    if altered == "t" {
        return Err(overridden(Overriding::AlterSystem, &managed));
    }
    let path = Path::new(&managed);
    if path.exists() && runs_here(Path::new(&data_directory), &pid_file) {
        Ok(Place::ManagedFile(path.to_path_buf()))
    } else {
        Err(PlanError::Elsewhere {
            primary: primary.to_owned(),
            path: path.to_path_buf(),
        })
    }
}

/// Whether the server that said this of itself is this host's: another host's nodes can have the
/// same paths, but not a `postmaster.pid` with the same process, start and shared memory.
fn runs_here(data_directory: &Path, pid_file: &str) -> bool {
    std::fs::read_to_string(data_directory.join("postmaster.pid")).is_ok_and(|own| own == pid_file)
}
