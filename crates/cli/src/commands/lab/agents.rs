//! The lab's agents: processes that stay with its herd.

use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use manada_herd::{Home, Node};

use super::home::LabHome;
use crate::error::Failure;

/// The herd's record, in the lab's directory.
const STORE: &str = "herd.store";

/// How an agent is started, as it is shown: where the lab is, is known.
pub(crate) const COMMAND_SHOWN: &str = "manada run --store sqlite:…/herd.store";

/// Where the lab's herd has its record, as `manada run --store` takes it.
pub(crate) fn store_of(home: &LabHome) -> String {
    format!("sqlite:{}", home.path().join(STORE).display())
}

/// Where a node's agent listens for the others, and for questions about its health.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) listen: SocketAddr,
    pub(crate) health: SocketAddr,
}

impl Doors {
    pub(crate) fn at(listen: u16, health: u16) -> Doors {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Doors {
            listen: local(listen),
            health: local(health),
        }
    }
}

/// What is typed to protect a node for the first time.
pub(crate) fn first_arguments(node: &Node, store: &str, doors: Doors) -> Vec<String> {
    let mut arguments = arguments(node);
    arguments.extend(["--store".to_owned(), store.to_owned()]);
    arguments.extend(["--listen".to_owned(), doors.listen.to_string()]);
    arguments.extend(["--health".to_owned(), doors.health.to_string()]);
    arguments
}

fn arguments(node: &Node) -> Vec<String> {
    let home = node.home.path().display().to_string();
    ["run".to_owned(), "--home".to_owned(), home].to_vec()
}

/// Starts an agent that goes on when this process ends.
pub(crate) fn start(node: &Node, arguments: &[String]) -> Result<(), Failure> {
    spawn(node, arguments).map_err(|error| {
        Failure::failed(format!("the agent of {} did not start", node.file.name))
            .because(error)
            .next("manada lab rm removes what is there")
    })
}

fn spawn(node: &Node, arguments: &[String]) -> io::Result<()> {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log_of(&node.home))?;
    let mut agent = Command::new(std::env::current_exe()?)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C goes to the terminal's foreground processes, which this must not be one of.
        .process_group(0)
        .spawn()?;
    // While the lab goes on, an agent that has ended leaves no zombie.
    std::thread::spawn(move || agent.wait());
    Ok(())
}

fn log_of(home: &Home) -> PathBuf {
    home.path().join("log/agent.log")
}

/// Starts the agent of a node, if that is protected.
pub(crate) fn start_again(directory: &Path) -> Result<Option<Node>, Failure> {
    let node = open(directory)?;
    if node.file.protect.is_none() {
        return Ok(None);
    }
    start(&node, &arguments(&node))?;
    Ok(Some(node))
}

fn open(directory: &Path) -> Result<Node, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("{} is no node", directory.display())).because(error)
    };
    let home = Home::at(directory).map_err(|error| failed(&error))?;
    Node::open(home).map_err(|error| failed(&error))
}
