//! Which herd a command is about.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use manada_model::{HerdName, NodeName};
use manada_postgres::Conninfo;
use manada_postgres::conninfo::{Environment, SslMode};

use crate::error::Failure;

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
}
