//! HAProxy before a herd, with the configuration that Patroni's manual gives.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use manada_testbed::{Missing, free_port};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::herd::{NODES, Protected};

/// The role that clients use, and its password.
const CLIENT: &str = "app";

/// HAProxy, which is killed when it is dropped.
pub(crate) struct LoadBalancer {
    process: Child,
    writes: u16,
    reads: u16,
}

impl Drop for LoadBalancer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl LoadBalancer {
    /// Starts one, and makes a role for its clients: the port for writes leads to the primary, the one for reads to the standbys.
    pub(crate) fn before(herd: &Protected) -> Result<LoadBalancer, Missing> {
        let program = haproxy().ok_or_else(|| Missing::new("no haproxy: apt install haproxy"))?;
        herd.sql(
            "n1",
            &format!("CREATE ROLE {CLIENT} LOGIN SUPERUSER PASSWORD '{CLIENT}'"),
        );
        let (writes, reads) = (free_port(), free_port());
        let directory = herd.directory();
        let file = directory.join("haproxy.cfg");
        let text = configuration(herd, writes, reads);
        fs::write(&file, text).expect("written");
        let said = File::create(directory.join("haproxy.log")).expect("created");
        let process = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a second handle"))
            .stderr(said)
            .spawn()
            .expect("haproxy runs");
        Ok(LoadBalancer {
            process,
            writes,
            reads,
        })
    }

    /// What a new session answers that was asked for on the port for writes.
    pub(crate) fn write(&self, sql: &str) -> Result<String, String> {
        ask(self.writes, sql)
    }

    /// What a new session answers that was asked for on the port for reads.
    pub(crate) fn read(&self, sql: &str) -> Result<String, String> {
        ask(self.reads, sql)
    }
}

fn configuration(herd: &Protected, writes: u16, reads: u16) -> String {
    let mut text = "defaults\n mode tcp\n retries 2\n timeout client 30m\n timeout server 30m\n \
                    timeout connect 4s\n timeout check 5s\n"
        .to_owned();
    for (name, port, path) in [
        ("primary", writes, "/primary"),
        ("replicas", reads, "/replica"),
    ] {
        let _ = write!(
            text,
            "listen {name}\n bind 127.0.0.1:{port}\n option httpchk OPTIONS {path}\n \
             http-check expect status 200\n \
             default-server inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions\n"
        );
        for node in NODES {
            let (server, health) = (herd.port(node), herd.health_port(node));
            let _ = writeln!(
                text,
                " server {node} 127.0.0.1:{server} maxconn 100 check port {health}"
            );
        }
    }
    text
}

/// Debian keeps it where only root looks for programs.
fn haproxy() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|directory| directory.join("haproxy"))
        .find(|program| program.exists())
}

fn ask(port: u16, sql: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let said = |error: tokio_postgres::Error| format!("{error:?}");
        let at =
            format!("host=127.0.0.1 port={port} user={CLIENT} password={CLIENT} dbname=postgres");
        let (client, connection) = tokio_postgres::connect(&at, NoTls).await.map_err(said)?;
        tokio::spawn(connection);
        let messages = client.simple_query(sql).await.map_err(said)?;
        let value = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(value.unwrap_or_default())
    })
}
