//! Which herd a command is about.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use manada_herd::{FindNodeError, Node, Survey};
use manada_model::{HerdName, HerdStatus, NodeName, NodeState, wording};
use manada_postgres::Conninfo;
use manada_postgres::conninfo::{Environment, SslMode};

use crate::error::Failure;
use crate::privilege::as_whom;

/// The herd: any server of it by URI or by libpq's environment variables, else this host's node.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which herd")]
pub(crate) struct HerdArgs {
    /// A server of the herd: a URI or `keyword=value` string as for psql; several hosts may be listed.
    #[arg(short = 'd', long, value_name = "URI")]
    pub(crate) uri: Option<String>,

    /// The directory of a node on this host.
    #[arg(long, value_name = "DIR", env = "MANADA_HOME")]
    pub(crate) home: Option<PathBuf>,

    /// The herd, where this host has nodes of several.
    #[arg(long, value_name = "NAME")]
    pub(crate) herd: Option<HerdName>,

    /// The node, where this host has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<NodeName>,

    /// How long one server may take to answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) timeout: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    const SECONDS_MAX: f64 = 3600.0;
    text.parse()
        .ok()
        .filter(|seconds| (0.01..=SECONDS_MAX).contains(seconds))
        .ok_or_else(|| format!("a number of seconds from 0.01 to {SECONDS_MAX} is needed"))
}

impl HerdArgs {
    /// The limit for one server's answer.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }

    /// The servers named by `--uri` or the environment; `None` where neither names one, and this
    /// host's node is meant.
    pub(crate) fn conninfo(&self) -> Result<Option<Conninfo>, Failure> {
        let environment = Environment::of_process();
        let local = self.home.is_some() || self.herd.is_some() || self.node.is_some();
        let text = match &self.uri {
            Some(uri) => uri.as_str(),
            None if !local && environment.names_a_server() => "",
            None => return Ok(None),
        };
        let mut conninfo = Conninfo::parse(text, &environment)
            .map_err(|error| Failure::usage(error).next("manada status --uri 'host=… user=…'"))?;
        conninfo.connect_timeout = conninfo.connect_timeout.min(self.timeout());
        if conninfo.ssl.mode == SslMode::Disable {
            tracing::info!("sslmode=disable: passwords and data cross the network in the clear");
        }
        Ok(Some(conninfo))
    }

    /// Whom to ask about the herd.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        if let Some(conninfo) = self.conninfo()? {
            return Ok(Target {
                survey: Survey::of(conninfo, self.timeout()),
                node: None,
            });
        }
        let nodes = self.nodes()?;
        let [node, ..] = nodes.as_slice() else {
            return Err(no_node());
        };
        let remembered = manada_herd::member::remembered(&node.home);
        let peer = match node.peer() {
            Ok(peer) => Some(peer),
            // Whose data is gone can be asked nothing, and knows whom to ask.
            Err(_) if !remembered.is_empty() => None,
            Err(error) => {
                return Err(Failure::failed("this host's node can't be asked").because(error));
            }
        };
        let mut seeds = node.superuser();
        // What commits wait for by default is to be seen, not what this session would.
        seeds.options = None;
        seeds.endpoints = nodes
            .iter()
            .flat_map(|node| node.superuser().endpoints)
            .collect();
        Ok(Target {
            survey: Survey {
                seeds,
                peer,
                others: node.monitor(node.endpoint()),
                remembered,
                limit: self.timeout(),
            },
            node: Some(node.clone()),
        })
    }

    /// This host's nodes that are meant: one, or several of one herd.
    fn nodes(&self) -> Result<Vec<Node>, Failure> {
        let found = Node::find(self.home.as_deref(), self.herd.as_ref(), self.node.as_ref());
        match found {
            Ok(node) => Ok(vec![node]),
            Err(FindNodeError::Several { nodes }) => {
                let herds: BTreeSet<&HerdName> = nodes.iter().map(|node| &node.file.herd).collect();
                if herds.len() == 1 {
                    return Ok(nodes);
                }
                let failure = Failure::usage("this host has nodes of several herds");
                Err(herds.iter().fold(failure, |failure, herd| {
                    failure.next(format!("--herd {herd}"))
                }))
            }
            Err(error @ FindNodeError::None) => {
                Err(as_whom(&error).into_iter().fold(no_node(), Failure::next))
            }
            Err(error @ (FindNodeError::Home(_) | FindNodeError::File(_))) => {
                let failure = Failure::usage("this host's node can't be read").because(&error);
                Err(as_whom(&error).into_iter().fold(failure, Failure::next))
            }
        }
    }
}

fn no_node() -> Failure {
    let nodes = Node::discover().unwrap_or_default();
    let names: Vec<String> = nodes
        .iter()
        .map(|node| format!("{}/{}", node.file.herd, node.file.name))
        .collect();
    let failure = Failure::usage("no server is named, and this host has no such node");
    if !names.is_empty() {
        let names = names.join(", ");
        return failure.because(format!("by herd and name, this host has {names}"));
    }
    failure
        .next("manada status --uri postgresql://HOST/postgres")
        .next("manada lab")
}

/// Whom to ask about a herd.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The servers to ask first, and how to reach those they know of.
    pub(crate) survey: Survey,
    /// This host's node, where it is one of the herd's and was not passed by with `--uri`.
    pub(crate) node: Option<Node>,
}

impl Target {
    /// What to call the herd: its name, or its cluster's number.
    pub(crate) fn title(&self, status: &HerdStatus) -> String {
        match (&self.node, status.system_identifier()) {
            (Some(node), _) => format!("herd {}", node.file.herd),
            (None, Some(number)) => format!("cluster {number}"),
            (None, None) => "no server answered".to_owned(),
        }
    }
}

/// The failure of a command that needs an answer, where there is none.
pub(crate) fn nobody_answered(status: &HerdStatus) -> Failure {
    let failure = Failure::unreachable("no server of the herd answered");
    let reasons: Vec<String> = status
        .nodes
        .iter()
        .filter_map(|node| match &node.state {
            NodeState::Unreachable { reason, .. } => Some(wording::shown(reason)),
            NodeState::Answered(_) | NodeState::SeenByUpstream => None,
        })
        .collect();
    failure
        .because(reasons.join("\n"))
        .next("manada start, on each host of the herd; in a lab: manada lab start")
}
