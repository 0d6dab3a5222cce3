//! `manada init`: this host's server becomes the primary of a new herd.

mod adopt;

use std::path::PathBuf;
use std::time::Duration;

use manada_herd::create::archive_directory;
use manada_herd::schema::TOKEN_LIFETIME;
use manada_herd::{CreateError, CreateStep, Created, Home, NewHerd, create};
use manada_model::{HerdName, NodeName};
use manada_postgres::address::HostAddress;
use manada_postgres::conninfo::DEFAULT_PORT;
use manada_postgres::process::StartError;
use manada_postgres::programs::Wanted;

use super::token::TokenReport;
use crate::error::{Failure, Outcome};
use crate::ui::{Format, Ui, accent, paint};
use crate::{block_on, server_programs, this_host};

/// Make this host's server the primary of a new herd.
///
/// Creates a server with TLS, a certificate authority of its own, roles for standbys and
/// monitoring, and settings that say why they are there; prints the token with which other hosts
/// join.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada init --address 10.0.0.1
  manada init --herd shop --name db1 --address 10.0.0.1 --archive /srv/archive
  manada init --adopt /var/lib/postgresql/15/main --address 10.0.0.1 --dry-run")]
pub(crate) struct InitArgs {
    /// The herd's name.
    #[arg(long, value_name = "NAME", default_value = "main")]
    herd: HerdName,

    /// This node's name; the host's where it is not said.
    #[arg(long, value_name = "NODE")]
    name: Option<NodeName>,

    /// How other hosts reach this one: an IP address or a DNS name, the preferred one first.
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<HostAddress>,

    /// The server's port.
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// The server programs: 15, 16, 17, 18 or their directory.
    #[arg(long, value_name = "PG")]
    pg: Option<Wanted>,

    /// The node's directory.
    #[arg(long, value_name = "DIR", env = "MANADA_HOME")]
    home: Option<PathBuf>,

    /// Archive WAL into this directory, which every node should reach at the same path.
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,

    /// Take over the running server of this data directory, with all that is in it.
    #[arg(long, value_name = "PGDATA", help_heading = "Adopting", conflicts_with_all = ["port", "pg"])]
    adopt: Option<PathBuf>,

    /// Say what would be changed, and change nothing.
    #[arg(long, help_heading = "Adopting", requires = "adopt")]
    dry_run: bool,

    /// Restart the adopted server where settings wait for it.
    #[arg(long, help_heading = "Adopting", requires = "adopt")]
    restart: bool,

    /// Replace the adopted server's certificate, although its clients may rely on it.
    #[arg(long, help_heading = "Adopting", requires = "adopt")]
    replace_certificate: bool,

    /// How long the join token is good, in hours.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=8760))]
    token_hours: Option<u64>,
}

pub(crate) fn run(args: InitArgs, ui: Ui) -> Result<Outcome, Failure> {
    if let Some(data_directory) = args.adopt.clone() {
        return adopt::run(args, data_directory, ui);
    }
    let wanted = args.pg.clone().unwrap_or_default();
    let new = plan(args)?;
    let programs = server_programs::find_or_fetch(&wanted, ui)?;
    let spinner = ui.spinner("");
    let progress = {
        let spinner = spinner.clone();
        move |step: CreateStep| spinner.set_message(said(step))
    };
    let outcome = block_on(async {
        create(&programs, &new, &progress)
            .await
            .map_err(|error| failure(error, &new))
    });
    spinner.finish_and_clear();
    let created = outcome?;
    report(&created, programs.version(), ui);
    Ok(Outcome::Done)
}

fn plan(args: InitArgs) -> Result<NewHerd, Failure> {
    let name = args.name.unwrap_or_else(this_host::node_name);
    let addresses = match args.addresses {
        given if !given.is_empty() => given,
        _ => vec![this_host::address()?],
    };
    let home = match &args.home {
        Some(path) => Home::at(path),
        None => Home::of(&args.herd, &name),
    }
    .map_err(Failure::usage)?;
    let archive_directory = args
        .archive
        .as_deref()
        .map(archive_directory)
        .transpose()
        .map_err(Failure::usage)?;
    Ok(NewHerd {
        home,
        herd: args.herd,
        name,
        addresses,
        port: args.port,
        archive_directory,
        manada: own_program()?,
        token_lifetime: args
            .token_hours
            .map_or(TOKEN_LIFETIME, |hours| Duration::from_secs(hours * 3600)),
    })
}

/// The path of this very program, for the server to run.
pub(super) fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::failed("where this program lies can't be told").because(error))
}

fn said(step: CreateStep) -> &'static str {
    match step {
        CreateStep::MakingDataDirectory => "making the data directory",
        CreateStep::WritingSettings => "writing settings",
        CreateStep::Starting => "starting the server",
        CreateStep::MakingRoles => "making roles",
    }
}

fn report(created: &Created, version: manada_model::ServerVersion, ui: Ui) {
    let node = &created.node;
    let token = TokenReport::of(&created.token);
    match ui.format() {
        Format::Json => ui.json(&serde_json::json!({
            "format": "manada.init/1",
            "herd": node.file.herd,
            "node": node.file.name,
            "addresses": node.file.addresses,
            "port": node.file.port,
            "server_version": version.to_string(),
            "system_identifier": node.file.system_identifier,
            "home": node.home.path(),
            "data_directory": node.file.data_directory,
            "settings_file": node.file.settings_file(),
            "socket_directory": node.file.socket_directory,
            "token": token.token,
            "token_expires_at": token.expires_at,
        })),
        Format::Text => ui.text(format!(
            "{} is the primary of the herd {}: PostgreSQL {version} at {}\n\
             \x20 settings  {}\n\
             \x20 access    {}\n\
             \x20 psql      {}\n\n{}",
            paint(accent::STRONG, &node.file.name),
            paint(accent::STRONG, &node.file.herd),
            node.endpoint(),
            node.file.settings_file().display(),
            node.file.hba_file.display(),
            psql(node),
            token.text(),
        )),
    }
}

/// What this host's administrator types to get in.
fn psql(node: &manada_herd::Node) -> String {
    format!(
        "psql \"host={} port={} user={} dbname=postgres\"",
        node.file.socket_directory.display(),
        node.file.port,
        node.file.superuser
    )
}

fn failure(error: CreateError, new: &NewHerd) -> Failure {
    let what = "the herd was not made";
    match &error {
        CreateError::NodeExists { .. } => Failure::refused(what)
            .because(&error)
            .next("manada status")
            .next("or give another --name, or --home"),
        CreateError::DataNotOurs { .. } => Failure::refused(what)
            .because(&error)
            .next("move it aside, or give another --home; nothing of it was touched"),
        CreateError::Port(_) => Failure::refused(what).because(&error).next(format!(
            "give another port: --port {}",
            new.port.wrapping_add(1).max(1024)
        )),
        CreateError::Home(_) | CreateError::User(_) | CreateError::Archive(_) => {
            Failure::refused(what).because(&error)
        }
        CreateError::Start(StartError::Ended { .. }) => Failure::failed(what)
            .because(&error)
            .next("when the cause is gone, run it again: it goes on where it stopped"),
        CreateError::Identity(_)
        | CreateError::Initdb(_)
        | CreateError::ControlFile(_)
        | CreateError::Files(_)
        | CreateError::Unquotable(_)
        | CreateError::Stop(_)
        | CreateError::Running(_)
        | CreateError::Start(_)
        | CreateError::Connect(_)
        | CreateError::Sql { .. }
        | CreateError::Token(_)
        | CreateError::NodeFile(_) => Failure::failed(what)
            .because(&error)
            .next("when the cause is gone, run it again: it goes on where it stopped"),
    }
}
