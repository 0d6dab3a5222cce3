//! `lab stop`, `lab start` and `lab rm`: what is done with a lab once it was played.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use manada_agent::control::{socket, view};
use manada_agent::wording;
use manada_herd::{Home, Node};
use manada_postgres::process::{
    PostmasterStatus, READY_WITHIN, STOPPED_WITHIN, StartError, StartOptions, StopMode, running,
    start, stop,
};
use manada_postgres::programs::{Cache, Wanted, obtain};

use super::agents;
use super::home::{Contents, LabHome, somebody_elses};
use super::processes;
use super::server::LOOK_INTERVAL;
use crate::error::Failure;

/// How often an agent is asked whether it has anything against a start.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// Stops the agents, then the servers in good order, the primary first: its shutdown waits until
/// the standbys have all it wrote.
pub(crate) fn stop_all(home: &LabHome) -> Result<(), Failure> {
    processes::end_agents(home.path())
        .map_err(|error| Failure::failed("the lab's agents could not be stopped").because(error))?;
    for node in nodes(home.path()) {
        stop_node(&node)?;
    }
    Ok(())
}

/// Stops one node's server, if it runs.
pub(crate) fn stop_node(directory: &Path) -> Result<(), Failure> {
    match stop(&directory.join("data"), StopMode::Fast, STOPPED_WITHIN) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::failed("a server of the lab did not stop")
            .because(error)
            .next("manada lab rm stops it at once, and removes the lab")),
    }
}

/// Starts the servers.
pub(crate) async fn start_all(home: &LabHome) -> Result<(), Failure> {
    match home.contents()? {
        Contents::Complete(..) => {}
        Contents::Unfinished(_) | Contents::Nothing => {
            return Err(Failure::failed(format!(
                "the lab in {} was broken off before its servers were ready",
                home.path().display()
            ))
            .next("manada lab begins it anew"));
        }
        Contents::SomebodyElses => return Err(somebody_elses(home.path())),
    }
    let nodes = nodes(home.path());
    let mut protected = Vec::new();
    for directory in &nodes {
        // A protected server is its agent's to start: as what, the herd's record says.
        match agents::start_again(directory)? {
            Some(node) => protected.push(node),
            None => start_node(directory)?,
        }
    }
    for node in &protected {
        wait_until_it_runs(node).await?;
    }
    Ok(())
}

async fn wait_until_it_runs(node: &Node) -> Result<(), Failure> {
    let mut asked = Instant::now();
    let deadline = asked + READY_WITHIN;
    loop {
        match running(&node.file.data_directory) {
            Ok(Some(server)) if server.status == PostmasterStatus::Ready => return Ok(()),
            Ok(Some(_) | None) if Instant::now() < deadline => {
                if asked.elapsed() > ASK_INTERVAL {
                    refuse_without_record(node).await?;
                    asked = Instant::now();
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            Ok(Some(_) | None) => {
                return Err(Failure::failed(format!(
                    "the server of {} did not start within {} s",
                    node.file.name,
                    READY_WITHIN.as_secs()
                ))
                .next(format!("manada why --home {}", node.home.path().display())));
            }
            Err(error) => {
                let what = format!("whether {} runs can't be told", node.file.name);
                return Err(Failure::failed(what).because(error));
            }
        }
    }
}

/// Ends the wait where the agent says that the herd's record is lost: by what it remembers it starts
/// nothing.
async fn refuse_without_record(node: &Node) -> Result<(), Failure> {
    let view = view(&socket(&node.home)).await.ok();
    let Some((store, loss)) = view.and_then(|view| Some((view.store, view.lost?))) else {
        return Ok(());
    };
    Err(Failure::failed("the lab's servers are not started")
        .because(format!("{store}: {}", wording::loss(&loss)))
        .next(format!(
            "manada recover --home {}",
            node.home.path().display()
        )))
}

/// Starts one node's server, unless it runs.
pub(crate) fn start_node(directory: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "the server in {} did not start",
            directory.display()
        ))
        .because(error)
        .next("manada lab rm removes this lab; manada lab makes a new one")
    };
    let home = Home::at(directory).map_err(|error| failed(&error))?;
    let node = Node::open(home).map_err(|error| failed(&error))?;
    let user = node.user().map_err(|error| failed(&error))?;
    let cache = Cache::of_this_user().map_err(|error| failed(&error))?;
    let wanted = Wanted::Directory(node.file.bin_dir.clone());
    let programs = obtain(&wanted, &user, &cache, &mut |_| {}).map_err(|error| failed(&error))?;
    let log_file = node.home.log_file();
    let options = StartOptions {
        data_directory: &node.file.data_directory,
        settings: &[],
        log_file: &log_file,
        ready_within: READY_WITHIN,
    };
    match start(&programs, &options) {
        Ok(_) | Err(StartError::AlreadyRunning { .. }) => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// Stops the servers at once and removes the directory.
pub(crate) fn remove(home: LabHome) -> Result<(), Failure> {
    if home.contents()? == Contents::SomebodyElses {
        return Err(somebody_elses(home.path()));
    }
    processes::stop_at_once(home.path()).map_err(|error| {
        Failure::failed("the lab's servers could not be stopped").because(error)
    })?;
    home.remove()
}

/// The nodes' directories, in the order of their numbers.
pub(crate) fn nodes(home: &Path) -> Vec<PathBuf> {
    (1..=usize::from(super::STANDBYS_MAX) + 1)
        .map(|number| home.join(super::node_name(number).as_str()))
        .filter(|directory| directory.join("data").is_dir())
        .collect()
}
