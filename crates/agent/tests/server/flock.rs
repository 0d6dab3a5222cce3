//! Some nodes of one herd on this machine, each with a real server that an agent's hands drive.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use manada_agent::server::LocalServer;
use manada_core::action::{Order, Stop};
use manada_core::input::Outcome;
use manada_core::policy::Policy;
use manada_core::position::{Epoch, Rule, RuleId};
use manada_core::server::{PrimaryFacts, ServerFacts, StandbyFacts};
use manada_herd::{Home, Member, NewHerd, Node, NodeFile, create, protection};
use manada_model::{NodeName, SyncMethod};
use manada_postgres::Session;
use manada_postgres::os_user::OsUser;
use manada_postgres::settings::{FILE_NAME, ManagedSettings, Setting};
use manada_testbed::{PATIENCE, Programs, Scratch, free_port};
use manada_wal::clone::{CloneRequest, CloneSlot, ExtraFile};

/// A herd of `n1`, which leads, and its standbys. All of it goes when it is dropped.
pub(crate) struct Flock {
    pub(crate) nodes: Vec<Bird>,
    _scratch: Scratch,
}

/// One of them.
pub(crate) struct Bird {
    pub(crate) node: Node,
    pub(crate) server: LocalServer,
}

/// What the tests' asynchronous work runs on.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime")
        })
        .block_on(future)
}

pub(crate) fn name(text: &str) -> NodeName {
    text.parse().expect("a node's name")
}

pub(crate) fn any_1(names: &[&str]) -> Policy {
    Policy {
        method: SyncMethod::Any,
        count: 1,
        standbys: names.iter().copied().map(name).collect(),
    }
}

pub(crate) fn rule(epoch: u64, sub: u32, leader: &str) -> Rule {
    Rule {
        id: rule_id(epoch, sub),
        leader: name(leader),
        policy: any_1(&["n1", "n2"]),
    }
}

pub(crate) fn rule_id(epoch: u64, sub: u32) -> RuleId {
    RuleId {
        epoch: Epoch(epoch),
        sub,
    }
}

impl Flock {
    /// `n1` and as many standbys that stream from it.
    pub(crate) async fn of(programs: &Programs, standbys: usize) -> Flock {
        let scratch = Scratch::new();
        let first = new_herd(&scratch.path().join("n1"));
        let programs = programs.as_server_programs();
        let created = create(&programs, &first, &|_| {}).await;
        let leader = created.unwrap_or_else(|error| panic!("{error}")).node;
        let mut files = vec![leader];
        for number in 2..2 + standbys {
            let standby = prepare(&files[0], &scratch, &format!("n{number}"));
            files.push(standby);
        }
        let members: Vec<Member> = files.iter().map(member).collect();
        let nodes: Vec<Bird> = files.into_iter().map(Bird::new).collect();
        let flock = Flock {
            nodes,
            _scratch: scratch,
        };
        let leader = &flock.nodes[0];
        leader.admit(&members).await;
        for standby in &flock.nodes[1..] {
            clone_for(standby, leader).await;
            standby.admit(&members).await;
            let follow = Some(name("n1"));
            standby.done(Order::StartStandby { follow }).await;
            standby.standby_that("streams", |facts| facts.streams).await;
        }
        flock
    }

    /// Has a node's configuration where Debian has it: not in the data directory. Its server is
    /// stopped by that.
    pub(crate) async fn move_configuration(&mut self, index: usize) {
        let bird = &self.nodes[index];
        bird.done(Order::Stop(Stop::Fast)).await;
        let mut node = bird.node.clone();
        let data_directory = &node.file.data_directory;
        let elsewhere = node.home.path().join("etc");
        fs::create_dir(&elsewhere).expect("made");
        let files = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf", FILE_NAME];
        for file in files {
            let moved = fs::rename(data_directory.join(file), elsewhere.join(file));
            moved.expect("moved");
        }
        node.file.config_file = elsewhere.join(files[0]);
        node.file.hba_file = elsewhere.join(files[1]);
        node.file.adopted = true;
        let text = fs::read_to_string(&node.file.config_file).expect("there");
        let text = format!(
            "data_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\n{text}",
            data_directory.display(),
            node.file.hba_file.display(),
            elsewhere.join(files[2]).display(),
        );
        fs::write(&node.file.config_file, text).expect("written");
        let owned = Command::new("chown")
            .args(["-R", "--reference"])
            .arg(data_directory)
            .arg(&elsewhere)
            .status();
        assert!(owned.expect("chown runs").success());
        let members = bird.server.members();
        self.nodes[index] = Bird::new(node);
        self.nodes[index].admit(&members).await;
    }

    pub(crate) fn n1(&self) -> &Bird {
        &self.nodes[0]
    }

    pub(crate) fn n2(&self) -> &Bird {
        &self.nodes[1]
    }

    pub(crate) fn n3(&self) -> &Bird {
        &self.nodes[2]
    }
}

impl Bird {
    fn new(node: Node) -> Bird {
        let server = LocalServer::new(node.clone()).expect("somebody runs it");
        Bird { node, server }
    }

    /// What an agent that has just started knows.
    pub(crate) fn another_agent(&self) -> LocalServer {
        LocalServer::new(self.node.clone()).expect("somebody runs it")
    }

    async fn admit(&self, members: &[Member]) {
        let admitted = self.server.admit_members(members).await;
        admitted.unwrap_or_else(|error| panic!("{}: {error}", self.node.file.name));
    }

    /// Carries out an order that must succeed.
    pub(crate) async fn done(&self, order: Order) -> Outcome {
        let outcome = self.server.carry_out(&order).await;
        outcome.unwrap_or_else(|error| {
            panic!("{} {order:?}: {error}\n{}", self.node.file.name, self.log())
        })
    }

    pub(crate) async fn look(&self) -> ServerFacts {
        self.server.look(RuleId::default()).await
    }

    pub(crate) async fn standby_that(
        &self,
        what: &str,
        is_so: impl Fn(&StandbyFacts) -> bool,
    ) -> StandbyFacts {
        let facts = self.that(what, |facts| match facts {
            ServerFacts::Standby(facts) => is_so(facts),
            ServerFacts::Stopped { .. }
            | ServerFacts::Unusable
            | ServerFacts::Starting
            | ServerFacts::Unresponsive
            | ServerFacts::Primary(_) => false,
        });
        match facts.await {
            ServerFacts::Standby(facts) => facts,
            other => panic!("not a standby: {other:?}"),
        }
    }

    pub(crate) async fn primary_that(
        &self,
        what: &str,
        is_so: impl Fn(&PrimaryFacts) -> bool,
    ) -> PrimaryFacts {
        let facts = self.that(what, |facts| match facts {
            ServerFacts::Primary(facts) => is_so(facts),
            ServerFacts::Stopped { .. }
            | ServerFacts::Unusable
            | ServerFacts::Starting
            | ServerFacts::Unresponsive
            | ServerFacts::Standby(_) => false,
        });
        match facts.await {
            ServerFacts::Primary(facts) => facts,
            other => panic!("not a primary: {other:?}"),
        }
    }

    /// Looks until the facts are so.
    pub(crate) async fn that(
        &self,
        what: &str,
        is_so: impl Fn(&ServerFacts) -> bool,
    ) -> ServerFacts {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let facts = self.look().await;
            if is_so(&facts) {
                return facts;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{} is not one that {what}: {facts:?}\n{}",
                self.node.file.name,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn session(&self) -> Session {
        match self.node.open_superuser().await {
            Ok(session) => session,
            Err(error) => panic!("{error}\n{}", self.log()),
        }
    }

    /// As somebody does behind the agent's back.
    pub(crate) async fn alter_system(&self, what: &str) {
        let session = self.session().await;
        let set = format!("ALTER SYSTEM SET {what}");
        session.batch_execute(&set).await.expect("set");
        self.value("SELECT pg_reload_conf()::text").await;
    }

    pub(crate) async fn value(&self, sql: &str) -> String {
        let session = self.session().await;
        match session.query_one(sql, &[]).await {
            Ok(row) => row.get(0),
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    /// Asks until that is the answer.
    pub(crate) async fn value_is(&self, sql: &str, expected: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let value = self.value(sql).await;
            if value == expected {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{value} is not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn postmaster(&self) -> i32 {
        manada_postgres::process::running(&self.node.file.data_directory)
            .expect("readable")
            .expect("it runs")
            .pid
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.postmaster()).expect("a process");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.node.home.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

fn new_herd(home: &Path) -> NewHerd {
    NewHerd {
        home: Home::at(home).expect("absolute"),
        herd: "test".parse().expect("valid"),
        name: name("n1"),
        addresses: vec!["127.0.0.1".parse().expect("valid")],
        port: free_port(),
        archive_directory: None,
        manada: "/bin/true".into(),
        token_lifetime: Duration::from_secs(60),
    }
}

fn member(node: &Node) -> Member {
    Member {
        name: node.file.name.clone(),
        host: node.file.address().clone(),
        port: node.file.port,
        addresses: node.file.addresses.clone(),
        key_fingerprint: String::new(),
    }
}

/// A home as a join leaves it, with the leader's keys.
fn prepare(leader: &Node, scratch: &Scratch, text: &str) -> Node {
    let user = OsUser::for_new_server().expect("somebody runs servers");
    let home = Home::at(&scratch.path().join(text)).expect("absolute");
    home.create(&user).expect("made");
    for part in ["tls", "passfile"] {
        let copied = Command::new("cp")
            .arg("-a")
            .arg("-T")
            .arg(leader.home.path().join(part))
            .arg(home.path().join(part))
            .status();
        assert!(copied.expect("cp runs").success());
    }
    let data_directory = home.data();
    Node {
        file: NodeFile {
            name: name(text),
            port: free_port(),
            config_file: data_directory.join("postgresql.conf"),
            hba_file: data_directory.join("pg_hba.conf"),
            data_directory,
            socket_directory: home.socket_directory(),
            ..leader.file.clone()
        },
        home,
    }
}

async fn clone_for(standby: &Bird, leader: &Bird) {
    let node = &standby.node;
    let source = protection::rewind_source(node, leader.node.endpoint());
    let slot = CloneSlot::Existing(node.file.name.slot());
    let mut request = CloneRequest::new(source, node.file.data_directory.clone(), slot);
    request.owner = Some(OsUser::for_new_server().expect("somebody runs servers"));
    let mut settings = ManagedSettings::read(&leader.node.file.settings_file()).expect("read");
    let home = &node.home;
    for (name, value) in [
        ("cluster_name", node.file.name.to_string()),
        ("port", node.file.port.to_string()),
        (
            "unix_socket_directories",
            node.file.socket_directory.display().to_string(),
        ),
        (
            "ssl_cert_file",
            home.server_certificate().display().to_string(),
        ),
        ("ssl_key_file", home.server_key().display().to_string()),
        ("ssl_ca_file", home.ca_certificate().display().to_string()),
    ] {
        settings.set(Setting::new(name, value, "As a join sets it."));
    }
    let text = settings.render().expect("quotable");
    request.configure = Some(Box::new(move |_| {
        let file = |path: &str, contents: String| ExtraFile {
            path: path.to_owned(),
            contents: contents.into_bytes(),
        };
        Ok(vec![
            file(FILE_NAME, text),
            file("standby.signal", String::new()),
        ])
    }));
    let cloned = manada_wal::clone::run(request, |_| {}).await;
    cloned.unwrap_or_else(|error| panic!("{error}"));
}
