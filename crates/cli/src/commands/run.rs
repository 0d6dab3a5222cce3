//! `manada run`: the agent that protects this host's node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use manada_agent::agent::{Agent, OpenAgentError, Reins, Settings, prepare};
use manada_agent::glance::Glance;
use manada_agent::{PRIORITY_DEFAULT, store_of, wording};
use manada_core::obstacle::Obstacle;
use manada_herd::{Home, Node, NodeFile, Protect, StoreAccess};
use manada_postgres::replace_file::FileOwner;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::init::own_program;
use super::token::LocalNodeArgs;
use crate::error::{Failure, Outcome};

/// The port on which load balancers and monitoring ask: Patroni's.
const HEALTH_PORT: u16 = 8008;

/// How far the agent's port is from its server's.
const PORT_DISTANCE: u16 = 10_000;

/// How long an agent may take to tell the others that it ends.
const ENDED_WITHIN: Duration = Duration::from_secs(3);

/// How often the service manager is told that the agent is alive, where it asks for that: in
/// parts of the time that it waits.
const WATCHDOG_PARTS: u32 = 3;

/// How long the agent's loop may not have come round before the service manager is not told that
/// it is alive any more.
const ROUND_WITHIN: Duration = Duration::from_secs(5);

/// Protect this host's node: elect, fail over, rejoin, by what the herd's store records.
///
/// One runs on each host of the herd, for as long as the host is up: under systemd as
/// manada@HERD-NODE, or by hand. The first time it is told where the herd's store is; it writes that
/// into the node's manada.toml. Around the primary it founds the record; a standby waits for that.
/// When it ends or is killed, its server goes on.
///
/// SIGTERM and SIGINT end it, and it says so to the others first. SIGHUP has it read manada.toml
/// again: the priority counts at once, addresses and the store from the next start on. Under systemd
/// it says when it is ready, what the node is (systemctl status), and that it is alive.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  manada run --store etcd://10.0.0.1,10.0.0.2,10.0.0.3    the first time
  manada run                                              from then on
  manada run --store sqlite:/var/lib/manada/main.store    a herd on one machine
  manada run --never-primary                              a standby that never takes over")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    which: LocalNodeArgs,

    /// Where the herd's record is kept: sqlite:/PATH, etcd://HOST:PORT,… or etcds://HOST:PORT,….
    #[arg(long, value_name = "URL", env = "MANADA_STORE")]
    store: Option<String>,

    /// Where the other nodes' agents reach this one [default: the node's address, and the server's
    /// port plus 10000].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,

    /// Where load balancers and monitoring ask how this node is, over plain HTTP [default: the node's
    /// address, port 8008].
    #[arg(long, value_name = "ADDR:PORT")]
    health: Option<SocketAddr>,

    /// Who is preferred among nodes with equal WAL: the higher, 1 to 255 [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    priority: Option<u8>,

    /// This node never takes over, and still counts for commits.
    #[arg(long, conflicts_with = "priority")]
    never_primary: bool,

    /// The certificate of the authority that signed the store's, as PEM.
    #[arg(long, value_name = "FILE", help_heading = "How the store lets it in")]
    store_ca: Option<PathBuf>,

    /// A client's certificate for the store, as PEM.
    #[arg(long, value_name = "FILE", help_heading = "How the store lets it in")]
    store_certificate: Option<PathBuf>,

    /// That certificate's key.
    #[arg(long, value_name = "FILE", help_heading = "How the store lets it in")]
    store_key: Option<PathBuf>,

    /// A user of the store.
    #[arg(long, value_name = "NAME", help_heading = "How the store lets it in")]
    store_user: Option<String>,

    /// The file whose first line is that user's password.
    #[arg(long, value_name = "FILE", help_heading = "How the store lets it in")]
    store_password_file: Option<PathBuf>,
}

pub(crate) fn run(args: &RunArgs) -> Result<Outcome, Failure> {
    let node = args.which.find()?;
    let settings = settings(args, node)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed("the asynchronous runtime did not start").because(error)
        })?;
    let outcome = runtime.block_on(serve(settings));
    // What is under way about the server is taken up again by the next agent.
    runtime.shutdown_background();
    outcome.map(|()| Outcome::Done)
}

/// What the arguments and the node's file say together; the file has it from then on.
fn settings(args: &RunArgs, mut node: Node) -> Result<Settings, Failure> {
    let what = "this node is not protected";
    let told = protect(args, &node.file)?;
    store_of(&told).map_err(|error| Failure::usage(what).because(error))?;
    if node.file.protect.is_none() {
        prepare(&node.home).map_err(|error| Failure::failed(what).because(error))?;
    }
    if node.file.protect.as_ref() != Some(&told) {
        let path = node.home.node_file();
        node.file.protect = Some(told.clone());
        let owner = FileOwner::like(&path).map_err(|error| Failure::failed(what).because(error))?;
        node.file
            .write(&path, owner)
            .map_err(|error| Failure::failed(what).because(error))?;
    }
    Ok(Settings {
        node,
        protect: told,
        program: own_program()?,
    })
}

/// What is to be in the node's file.
fn protect(args: &RunArgs, file: &NodeFile) -> Result<Protect, Failure> {
    let before = file.protect.as_ref();
    let said = before.map(|before| before.store.as_str());
    let store = store(args.store.as_deref(), said)?;
    let address = match file.address().ip() {
        Some(address) => address,
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let listen = before.map_or_else(
        || SocketAddr::new(address, agent_port(file.port)),
        |before| before.listen,
    );
    let health = before.map_or_else(
        || SocketAddr::new(address, HEALTH_PORT),
        |before| before.health,
    );
    let priority = if args.never_primary {
        0
    } else {
        let before = before.map(|before| before.priority);
        args.priority.or(before).unwrap_or(PRIORITY_DEFAULT)
    };
    Ok(Protect {
        store,
        listen: args.listen.unwrap_or(listen),
        health: args.health.unwrap_or(health),
        priority,
        store_access: store_access(args, before),
    })
}

/// Where the herd's record is kept: as given now, or as said `before`.
fn store(given: Option<&str>, before: Option<&str>) -> Result<String, Failure> {
    match (given, before) {
        (Some(given), Some(before)) if given != before => Err(Failure::refused(
            "the store of a protected node can't be changed so",
        )
        .because(format!(
            "its record is in {before}: with another store the herd would lose it"
        ))
        .next("leave --store out")),
        (Some(store), _) | (None, Some(store)) => Ok(store.to_owned()),
        (None, None) => Err(
            Failure::usage("where the herd's record shall be kept is not said")
                .next("manada run --store etcd://HOST,HOST,HOST")
                .next("or, for a herd on one machine: manada run --store sqlite:/PATH"),
        ),
    }
}

fn store_access(args: &RunArgs, before: Option<&Protect>) -> StoreAccess {
    let before = before
        .map(|before| before.store_access.clone())
        .unwrap_or_default();
    StoreAccess {
        ca: args.store_ca.clone().or(before.ca),
        certificate: args.store_certificate.clone().or(before.certificate),
        key: args.store_key.clone().or(before.key),
        user: args.store_user.clone().or(before.user),
        password_file: args.store_password_file.clone().or(before.password_file),
    }
}

/// The server's port and 10000, or, where there is none that high, less 10000.
fn agent_port(server_port: u16) -> u16 {
    server_port
        .checked_add(PORT_DISTANCE)
        .unwrap_or_else(|| server_port - PORT_DISTANCE)
}

/// Runs the agent until a signal ends it.
async fn serve(settings: Settings) -> Result<(), Failure> {
    let home = settings.node.home.clone();
    let agent = Agent::open(settings).await.map_err(failure)?;
    let mut terminate = listen_to(SignalKind::terminate())?;
    let mut interrupt = listen_to(SignalKind::interrupt())?;
    let mut hangup = listen_to(SignalKind::hangup())?;
    let (hand_over, handed_over) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(agent.run(move |reins, glance| {
        // It fails where the agent's future is dropped already.
        let _ = hand_over.send((reins, glance));
    }));
    let Ok((reins, glance)) = handed_over.await else {
        return ended(running.await);
    };
    let mut running = running;
    tell_service_manager(&[sd_notify::NotifyState::Ready]);
    let said = tokio::spawn(keep_status(glance.clone()));
    let alive = tokio::spawn(keep_watchdog(glance));
    loop {
        tokio::select! {
            outcome = &mut running => {
                alive.abort();
                said.abort();
                return ended(outcome);
            }
            _ = hangup.recv() => reread(&home, &reins).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    said.abort();
    tell_service_manager(&[
        sd_notify::NotifyState::Stopping,
        sd_notify::NotifyState::Status("ends, and its server goes on"),
    ]);
    reins.end().await;
    alive.abort();
    match tokio::time::timeout(ENDED_WITHIN, running).await {
        Ok(outcome) => ended(outcome),
        Err(_) => Err(Failure::failed("the agent did not end in time")
            .because("the others could not be told that it comes back; its server goes on")),
    }
}

fn ended(
    outcome: Result<Result<(), OpenAgentError>, tokio::task::JoinError>,
) -> Result<(), Failure> {
    match outcome {
        Ok(outcome) => outcome.map_err(failure),
        Err(error) => Err(Failure::failed("the agent broke off").because(error)),
    }
}

fn failure(error: OpenAgentError) -> Failure {
    let what = "this node is not protected";
    match &error {
        OpenAgentError::RunsAlready { pid } => runs_already(*pid),
        OpenAgentError::OtherCluster { .. } => Failure::refused(what).because(error),
        OpenAgentError::Promise(_) => Failure::refused(what)
            .because(&error)
            .next("manada remove, then manada join, on this host"),
        OpenAgentError::Listen(_) => Failure::failed(what)
            .because(&error)
            .next("give another address: --listen ADDR:PORT"),
        OpenAgentError::Health(_) => Failure::failed(what)
            .because(&error)
            .next("give another address: --health ADDR:PORT"),
        OpenAgentError::Access(_) => Failure::usage(what).because(error),
        OpenAgentError::Store(_) => Failure::unreachable(what).because(with_causes(&error)),
        OpenAgentError::Control(_)
        | OpenAgentError::File { .. }
        | OpenAgentError::User(_)
        | OpenAgentError::Identity(_) => Failure::failed(what).because(error),
    }
}

fn runs_already(pid: Option<i32>) -> Failure {
    let failure = Failure::refused("an agent of this node runs already, and protects it");
    match pid {
        Some(pid) => failure
            .because(format!("it is process {pid}"))
            .next("manada status")
            .next(format!(
                "to end that one, while its server goes on: systemctl stop its unit, or kill {pid}"
            )),
        None => failure.next("manada status"),
    }
}

/// An error and what it stems from.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut lines = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(source) = cause {
        lines.push(source.to_string());
        cause = source.source();
    }
    lines.dedup();
    lines.join("\n")
}

/// Takes in what the node's file says now.
async fn reread(home: &Home, reins: &Reins) {
    let node = match Node::open(home.clone()) {
        Ok(node) => node,
        Err(error) => {
            tracing::error!(%error, "the node's file is as before");
            return;
        }
    };
    let Some(protect) = node.file.protect.clone() else {
        tracing::error!("the node's file does not say any more how it is protected");
        return;
    };
    match own_program() {
        Ok(program) => {
            let settings = Settings {
                node,
                protect,
                program,
            };
            reins.reread(&settings).await;
            tracing::info!(
                "the node's file was read again; addresses count from the next start on"
            );
        }
        Err(error) => tracing::error!(error = error.what(), "the node's file is as before"),
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed("signals can't be listened to").because(error))
}

/// Tells the service manager that the agent is alive, for as long as its loop comes round.
async fn keep_watchdog(glance: watch::Receiver<Arc<Glance>>) {
    let Some(within) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval(within / WATCHDOG_PARTS);
    loop {
        ticks.tick().await;
        if manada_agent::clock::since(glance.borrow().at) <= ROUND_WITHIN {
            tell_service_manager(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}

/// Tells the service manager in a sentence what the node is, whenever it has become something else.
async fn keep_status(mut glance: watch::Receiver<Arc<Glance>>) {
    let mut told = None;
    loop {
        let status = status_line(&glance.borrow_and_update());
        if told.as_ref() != Some(&status) {
            tell_service_manager(&[sd_notify::NotifyState::Status(&status)]);
            told = Some(status);
        }
        if glance.changed().await.is_err() {
            return;
        }
    }
}

/// What the node is, and what an operator has to undo.
fn status_line(glance: &Glance) -> String {
    if let Some(loss) = &glance.lost {
        return wording::loss(loss);
    }
    let standing = wording::standing(&glance.standing);
    let mut obstacles = glance.obstacles.iter();
    match obstacles.find(|one| matches!(one, Obstacle::ForeignSetting { .. })) {
        Some(foreign) => format!("{standing}. {}", wording::obstacle(foreign)),
        None => standing,
    }
}

/// Where no service manager started us, nothing happens.
fn tell_service_manager(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_port_is_never_the_servers_and_always_a_port() {
        for port in [1, 5432, 55535, 55536, 65535] {
            let agent = agent_port(port);
            assert_eq!(agent.abs_diff(port), PORT_DISTANCE);
        }
    }
}
