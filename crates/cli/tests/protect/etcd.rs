//! An etcd server of this machine that loses what it had.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use manada_testbed::{Missing, Scratch, free_port, wait_until};

/// The server. It ends when it is dropped.
pub(crate) struct Etcd {
    scratch: Scratch,
    port: u16,
    peer_port: u16,
    process: Option<Child>,
    /// Each new cluster has another number.
    clusters: u32,
}

impl Etcd {
    pub(crate) fn start() -> Result<Etcd, Missing> {
        if Command::new("etcd").arg("--version").output().is_err() {
            return Err(Missing::new("no etcd (apt install etcd-server)"));
        }
        let mut etcd = Etcd {
            scratch: Scratch::new(),
            port: free_port(),
            peer_port: free_port(),
            process: None,
            clusters: 1,
        };
        etcd.run();
        Ok(etcd)
    }

    pub(crate) fn uri(&self) -> String {
        format!("etcd://127.0.0.1:{}", self.port)
    }

    /// Begins anew with nothing, as another cluster.
    pub(crate) fn begin_anew(&mut self) {
        self.end();
        fs::remove_dir_all(self.data()).expect("removed");
        self.clusters += 1;
        self.run();
    }

    /// Copies its data as they are on disk.
    pub(crate) fn copy(&mut self) {
        self.end();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.data());
        copy.arg(self.scratch.path().join("copy"));
        assert!(copy.status().expect("cp runs").success());
        self.run();
    }

    /// Goes on from the copy.
    pub(crate) fn restore(&mut self) {
        self.end();
        fs::remove_dir_all(self.data()).expect("removed");
        fs::rename(self.scratch.path().join("copy"), self.data()).expect("put back");
        self.run();
    }

    /// Has it take no more data (`NOSPACE`), or take it again.
    pub(crate) fn be_full(&self, full: bool) {
        let action = if full { "ACTIVATE" } else { "DEACTIVATE" };
        let body = format!(r#"{{"action":"{action}","memberID":0,"alarm":"NOSPACE"}}"#);
        let request = format!(
            "POST /v3/maintenance/alarm HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.try_ask(&request).expect("etcd answers");
        assert!(answer.contains(" 200 OK"), "{answer}");
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn run(&mut self) {
        let client = format!("http://127.0.0.1:{}", self.port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.scratch.path().join("log"))
            .expect("a log");
        let mut command = Command::new("etcd");
        command.args(["--name", "m", "--listen-client-urls", &client]);
        command.args(["--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("m={peer}")]);
        command.args(["--initial-cluster-token", &self.clusters.to_string()]);
        command.arg("--data-dir").arg(self.data());
        command.current_dir(self.scratch.path());
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        self.process = Some(command.stderr(log).spawn().expect("etcd starts"));
        wait_until("etcd is well", || {
            let answer = self.try_ask("GET /health HTTP/1.0\r\n\r\n");
            answer.is_ok_and(|answer| answer.contains(r#""health":"true""#))
        });
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("killed");
            process.wait().expect("reaped");
        }
    }

    fn try_ask(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            process.kill().ok();
            process.wait().ok();
        }
    }
}
