//! Commands as they are typed, on a herd of this machine.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use manada_testbed::{Programs, Scratch, free_port};
use serde_json::Value;

/// A herd on this machine: each node has a port and a home of its own.
pub(crate) struct Herd {
    pub(crate) scratch: Scratch,
    bin: PathBuf,
    pub(crate) primary_port: u16,
}

impl Herd {
    pub(crate) fn init(programs: &Programs, more: &[&str]) -> (Herd, Value) {
        let herd = Herd {
            scratch: Scratch::new(),
            bin: programs.bin().to_owned(),
            primary_port: free_port(),
        };
        let port = herd.primary_port.to_string();
        let home = herd.home("n1");
        let mut arguments = vec![
            "init",
            "--format",
            "json",
            "--name",
            "n1",
            "--address",
            "127.0.0.1",
            "--port",
            &port,
            "--home",
            &home,
            "--pg",
            herd.bin(),
        ];
        arguments.extend(more);
        let report = json(&herd.manada(&arguments));
        (herd, report)
    }

    pub(crate) fn bin(&self) -> &str {
        self.bin.to_str().expect("UTF-8")
    }

    pub(crate) fn home(&self, node: &str) -> String {
        let path = self.scratch.path().join(node);
        path.to_str().expect("UTF-8").to_owned()
    }

    pub(crate) fn manada(&self, arguments: &[&str]) -> Output {
        manada(arguments).output().expect("manada runs")
    }

    /// From the primary on the host of `node`.
    pub(crate) fn token_of(&self, node: &str) -> String {
        let output = self.manada(&["token", "--home", &self.home(node)]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    pub(crate) fn token(&self) -> String {
        self.token_of("n1")
    }

    /// `manada join` with the token in the environment.
    pub(crate) fn join(&self, node: &str, port: u16, more: &[&str]) -> Command {
        let mut command = self.join_by("n1", node, port);
        command.args(more);
        command
    }

    /// The same with a token from the host of `primary`.
    pub(crate) fn join_by(&self, primary: &str, node: &str, port: u16) -> Command {
        let (port, home) = (port.to_string(), self.home(node));
        let mut command = manada(&[
            "join",
            "--format",
            "json",
            "--name",
            node,
            "--port",
            &port,
            "--home",
            &home,
            "--pg",
            self.bin(),
        ]);
        command.env("MANADA_TOKEN", self.token_of(primary));
        command
    }

    pub(crate) fn joined(&self, node: &str) -> Value {
        let output = self
            .join(node, free_port(), &[])
            .output()
            .expect("manada runs");
        json(&output)
    }

    /// What a superuser of `node` is told, through its socket.
    pub(crate) fn sql(&self, node: &str, sql: &str) -> String {
        self.try_sql(node, sql)
            .unwrap_or_else(|error| panic!("{node}: {sql}: {error}"))
    }

    pub(crate) fn try_sql(&self, node: &str, sql: &str) -> Result<String, String> {
        let home = manada_herd::Home::at(Path::new(&self.home(node))).expect("absolute");
        let node = manada_herd::Node::open(home).expect("a node");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let session = node
                .open_superuser()
                .await
                .map_err(|error| error.to_string())?;
            let messages = session
                .simple_query(sql)
                .await
                .map_err(|error| format!("{error:?}"))?;
            Ok(messages
                .iter()
                .find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
                .unwrap_or_default())
        })
    }
}

pub(crate) fn manada(arguments: &[&str]) -> Command {
    program_with(Path::new(env!("CARGO_BIN_EXE_manada")), arguments)
}

/// Another copy of the program.
pub(crate) fn program_with(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("PG") || name.starts_with("MANADA") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The exit code and the error's text.
pub(crate) fn refused(output: &Output) -> (i32, String) {
    (
        output.status.code().expect("an exit code"),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    manada(arguments).output().expect("manada runs")
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// A node of a status by its name.
pub(crate) fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    let nodes = status["nodes"].as_array().expect("nodes");
    let found = nodes.iter().find(|node| node["name"] == name);
    found.unwrap_or_else(|| panic!("no node {name}: {status:#}"))
}
