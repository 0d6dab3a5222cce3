//! Real etcd servers for a test: a single one or a cluster of three, plain or with TLS.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use manada_store::{Access, ClientCertificate, StoreLocation};
use manada_testbed::{Missing, Scratch, free_port, wait_until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A cluster. Dropping it ends the servers.
pub(crate) struct Etcd {
    members: Vec<Member>,
    pub(crate) scratch: Scratch,
    tls: Option<Access>,
}

struct Member {
    process: Child,
    port: u16,
}

impl Etcd {
    /// One server without TLS.
    pub(crate) fn single() -> Result<Etcd, Missing> {
        Etcd::start(1, false)
    }

    /// Three of them.
    pub(crate) fn cluster() -> Result<Etcd, Missing> {
        Etcd::start(3, false)
    }

    /// One server with TLS that wants to see a certificate.
    pub(crate) fn with_tls() -> Result<Etcd, Missing> {
        Etcd::start(1, true)
    }

    fn start(count: usize, tls: bool) -> Result<Etcd, Missing> {
        if Command::new("etcd").arg("--version").output().is_err() {
            return Err(Missing::new("no etcd (apt install etcd-server)"));
        }
        let scratch = Scratch::new();
        let tls = tls.then(|| certificates(scratch.path()));
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let cluster: Vec<String> = (ports.iter().enumerate())
            .map(|(number, (_, peer))| format!("m{number}=http://127.0.0.1:{peer}"))
            .collect();
        let start = |(number, (client, peer)): (usize, &(u16, u16))| {
            let scheme = if tls.is_some() { "https" } else { "http" };
            let client_url = format!("{scheme}://127.0.0.1:{client}");
            let peer_url = format!("http://127.0.0.1:{peer}");
            let directory = scratch.path().join(format!("m{number}"));
            fs::create_dir(&directory).expect("a directory");
            let log = File::create(scratch.path().join(format!("m{number}.log"))).expect("a log");
            let mut command = Command::new("etcd");
            command
                .args(["--name", &format!("m{number}")])
                .arg("--data-dir")
                .arg(&directory)
                .args(["--listen-client-urls", &client_url])
                .args(["--advertise-client-urls", &client_url])
                .args(["--listen-peer-urls", &peer_url])
                .args(["--initial-advertise-peer-urls", &peer_url])
                .args(["--initial-cluster", &cluster.join(",")]);
            if tls.is_some() {
                let file = |name: &str| scratch.path().join(name);
                command
                    .arg("--client-cert-auth")
                    .arg("--trusted-ca-file")
                    .arg(file("ca.crt"))
                    .arg("--cert-file")
                    .arg(file("node.crt"))
                    .arg("--key-file")
                    .arg(file("node.key"));
            }
            let process = command
                .current_dir(scratch.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("etcd starts");
            let port = *client;
            Member { process, port }
        };
        let members: Vec<Member> = ports.iter().enumerate().map(start).collect();
        for member in &members {
            wait_until("etcd takes connections", || {
                TcpStream::connect(("127.0.0.1", member.port)).is_ok()
            });
        }
        Ok(Etcd {
            members,
            scratch,
            tls,
        })
    }

    pub(crate) fn location(&self) -> StoreLocation {
        self.location_from(0)
    }

    /// The same with that member first.
    pub(crate) fn location_from(&self, first: usize) -> StoreLocation {
        let scheme = if self.tls.is_some() { "etcds" } else { "etcd" };
        let (before, rest) = self.members.split_at(first);
        let endpoints: Vec<String> = (rest.iter().chain(before))
            .map(|member| format!("127.0.0.1:{}", member.port))
            .collect();
        let text = format!("{scheme}://{}/herds", endpoints.join(","));
        text.parse().expect("a location")
    }

    pub(crate) fn access(&self) -> Access {
        self.tls.clone().unwrap_or_default()
    }

    /// Stops a server where it is.
    pub(crate) fn pause(&self, member: usize) {
        self.signal(member, Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self, member: usize) {
        self.signal(member, Signal::CONT);
    }

    pub(crate) fn kill(&self, member: usize) {
        self.signal(member, Signal::KILL);
    }

    fn signal(&self, member: usize, signal: Signal) {
        let pid = self.members[member].process.id();
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("etcd runs");
    }

    /// The member that leads, once there is one.
    pub(crate) fn leader(&self) -> usize {
        let leads = |member: &usize| {
            let status = self.post_to(*member, "/v3/maintenance/status", &json!({}), None);
            status["leader"] == status["header"]["member_id"]
        };
        let mut leader = None;
        wait_until("etcd has a leader", || {
            leader = (0..self.members.len()).find(leads);
            leader.is_some()
        });
        leader.expect("it was waited for")
    }

    /// Posts to the first server, which has no TLS; the answer's body.
    pub(crate) fn post(&self, path: &str, body: &Value, token: Option<&str>) -> Value {
        self.post_to(0, path, body, token)
    }

    fn post_to(&self, member: usize, path: &str, body: &Value, token: Option<&str>) -> Value {
        let body = body.to_string();
        let authorization =
            token.map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
        let address = ("127.0.0.1", self.members[member].port);
        let mut stream = TcpStream::connect(address).expect("etcd takes connections");
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n{authorization}\r\n{body}",
            body.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.contains(" 200 "), "{path}: {answer}");
        serde_json::from_str(body).expect("JSON")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // A process that has ended already is as good.
            member.process.kill().ok();
            member.process.wait().ok();
        }
    }
}

/// An authority, and a certificate that serves the server and the client.
fn certificates(directory: &Path) -> Access {
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("a key");
    let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    let write = |name: &str, text: String| -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, text).expect("written");
        path
    };
    Access {
        ca: Some(write("ca.crt", ca_pem)),
        client: Some(ClientCertificate {
            certificate: write("node.crt", certificate.pem()),
            key: write("node.key", key.serialize_pem()),
        }),
        login: None,
    }
}
