//! A host on which `manada` is installed, and the node that it makes there.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use manada_herd::{Home, Node};
use manada_postgres::transport::Peer;
use manada_postgres::{Conninfo, Session};
use manada_testbed::{Host, Network, PATIENCE, Programs, wait_for};
use serde_json::Value;

/// A host with `manada` on it. Its node, once there is one, is called as the host is.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) host: Host,
    manada: PathBuf,
    programs: Programs,
}

impl Machine {
    pub(crate) fn new(network: &Network, name: &str, programs: &Programs) -> Machine {
        Machine {
            host: network.host(name),
            manada: installed(network),
            programs: programs.clone(),
        }
    }

    /// `manada` with these arguments, as root. The node's directory comes from the environment.
    pub(crate) fn manada(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(&self.manada);
        command
            .args(arguments)
            .env("MANADA_HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    /// What `manada` answers in JSON, after it succeeded.
    #[track_caller]
    pub(crate) fn report(&self, arguments: &[&str]) -> Value {
        report(self.manada(arguments).args(["--format", "json"]))
    }

    /// Makes this host's server the primary of a herd.
    #[track_caller]
    pub(crate) fn init(&self) -> Value {
        self.report(&["init", "--pg", self.bin()])
    }

    /// Makes this host a standby of `primary`, with a token that is piped from there.
    #[track_caller]
    pub(crate) fn join(&self, primary: &Machine) -> Value {
        let token = primary.report(&["token"])["token"].clone();
        let token = token.as_str().expect("a token").to_owned();
        let mut command = self.manada(&["join", "-", "--pg", self.bin(), "--format", "json"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("manada runs");
        let mut pipe = child.stdin.take().expect("it was made piped");
        pipe.write_all(token.as_bytes()).expect("it is read");
        drop(pipe);
        parsed(&child.wait_with_output().expect("it ends"))
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.host.home().join("node")
    }

    pub(crate) fn bin(&self) -> &str {
        self.programs.bin().to_str().expect("UTF-8")
    }

    pub(crate) fn node(&self) -> Node {
        Node::open(Home::at(&self.home()).expect("absolute")).expect("a finished node")
    }

    /// The one value that `sql` gives a superuser of this node; the empty text for none or NULL.
    ///
    /// It waits for standbys as any client does.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        let answer = self.start_sql(sql).recv_timeout(PATIENCE);
        match answer.expect("an answer in time") {
            Ok(value) => value,
            Err(error) => panic!("{}: {sql}: {error}", self.host.name()),
        }
    }

    /// Sends `sql`; the answer comes through the channel.
    pub(crate) fn start_sql(&self, sql: &str) -> Receiver<Result<String, String>> {
        let (node, sql) = (self.node(), sql.to_owned());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(value(&node, &sql)));
        receiver
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, sql: &str, expected: &str) {
        wait_for(sql, expected.to_owned(), || self.sql(sql));
    }
}

/// `manada`, where every user of the network's hosts may run it.
fn installed(network: &Network) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_manada"));
    let place = network.directory().join("manada");
    if !place.exists() && fs::hard_link(built, &place).is_err() {
        fs::copy(built, &place).expect("there is space");
    }
    place
}

/// Runs a command that prints JSON.
#[track_caller]
pub(crate) fn report(command: &mut Command) -> Value {
    parsed(&command.output().expect("manada runs"))
}

#[track_caller]
fn parsed(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    match serde_json::from_slice(&output.stdout) {
        Ok(value) => value,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)),
    }
}

/// The one value that `sql` gives, asked through the socket as the server's own user.
fn value(node: &Node, sql: &str) -> Result<String, String> {
    let mut conninfo = node.superuser();
    conninfo.options = None;
    let peer = node.peer().map_err(|error| error.to_string())?;
    value_at(&conninfo, peer, sql)
}

/// The first value that `sql` gives; the empty text for none or NULL.
pub(crate) fn value_at(conninfo: &Conninfo, peer: Peer, sql: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let session = Session::open_as(conninfo, Some(peer))
            .await
            .map_err(|error| error.to_string())?;
        let messages = session
            .simple_query(sql)
            .await
            .map_err(|error| manada_testbed::told(&error))?;
        let first = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            // The rest announces columns and counts rows; the enum is open.
            _ => None,
        });
        Ok(first.unwrap_or_default())
    })
}
