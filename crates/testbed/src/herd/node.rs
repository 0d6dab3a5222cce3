//! One node of a protected herd: its server, its agent, and how both are disturbed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::clock::Clock;
use crate::background;
use crate::daemon::Daemon;
use crate::faults::LoopDisk;
use crate::host::Host;
use crate::process::{self, State};
use crate::sql::told;
use crate::workload::Server;

/// How long a server may take to answer the administrator.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long an operator's command may take.
const COMMAND_SECONDS_MAX: &str = "60";

/// The exit code of a command that took longer, by `timeout`.
pub const TIMED_OUT: i32 = 124;

/// How many bytes of a log are told.
const LAST_WORDS_BYTES: usize = 4000;

/// How a node's agent is run.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What its environment has besides.
    pub environment: BTreeMap<String, OsString>,
}

impl Agent {
    /// Its environment as arguments of `env`: what enters the host before it has none of it.
    fn assignments(&self) -> impl Iterator<Item = OsString> {
        self.environment.iter().map(|(name, value)| {
            let mut assignment = OsString::from(format!("{name}="));
            assignment.push(value);
            assignment
        })
    }
}

/// A node.
#[derive(Debug)]
pub struct HerdNode {
    host: Host,
    data: PathBuf,
    agent: Agent,
    daemon: Mutex<Option<Daemon>>,
    pub(super) disk: Option<LoopDisk>,
    pub(super) clock: Option<Clock>,
}

impl HerdNode {
    /// A node whose server has its data in `data`. Its agent does not run yet.
    pub fn new(host: &Host, data: &Path, agent: Agent) -> HerdNode {
        HerdNode {
            host: host.clone(),
            data: data.to_owned(),
            agent,
            daemon: Mutex::new(None),
            disk: None,
            clock: None,
        }
    }

    /// Its name, which is the host's.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// The host it is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The disk of its own, where it has one.
    pub fn disk(&self) -> Option<&LoopDisk> {
        self.disk.as_ref()
    }

    /// The clock of its own, where it has one.
    pub fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    /// Its server, as clients know it.
    pub fn server(&self) -> Server {
        Server {
            name: self.name().to_owned(),
            address: self.host.address().to_owned(),
            port: 5432,
        }
    }

    /// What its agent has said.
    pub fn agent_log(&self) -> PathBuf {
        self.host.home().join("agent.log")
    }

    /// What its server has said, where `manada` has made it.
    pub fn server_log(&self) -> PathBuf {
        self.data.with_file_name("log").join("postgresql.log")
    }

    /// An operator's command on this host: the agent's program with other arguments. It ends with
    /// [`TIMED_OUT`] where it takes too long.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command("timeout");
        command
            .arg(COMMAND_SECONDS_MAX)
            .arg("env")
            .args(self.agent.assignments())
            .arg(&self.agent.program)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Starts the agent, unless it runs.
    ///
    /// # Panics
    /// When it can't be run.
    #[track_caller]
    pub fn start_agent(&self) {
        let mut daemon = self.daemon();
        if daemon.as_mut().is_some_and(Daemon::is_running) {
            return;
        }
        let agent = &self.agent;
        let started = Daemon::start(&self.host, Path::new("env"), &self.agent_log(), |command| {
            command
                .args(agent.assignments())
                .arg(&agent.program)
                .args(&agent.arguments);
        });
        *daemon = Some(started.expect("the agent can be run"));
    }

    /// Kills the agent (`kill -9`), and nothing else.
    pub fn kill_agent(&self) {
        *self.daemon() = None;
        if self.clock.is_some() {
            Clock::sweep();
        }
    }

    /// Stops the agent where it is.
    pub fn pause_agent(&self) {
        self.signal_agent(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume_agent(&self) {
        self.signal_agent(Signal::CONT);
    }

    /// Sends the agent a signal.
    pub fn signal_agent(&self, signal: Signal) {
        if let Some(daemon) = self.daemon().as_ref() {
            daemon.signal(signal);
        }
    }

    /// Whether the agent runs.
    pub fn agent_runs(&self) -> bool {
        self.daemon().as_mut().is_some_and(Daemon::is_running)
    }

    /// The agent's process id, while it runs.
    pub fn agent_pid(&self) -> Option<u32> {
        let pid = self.daemon().as_ref().map(Daemon::pid)?;
        Some(pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Kills the postmaster (`kill -9`) and nothing else: its children end when they notice.
    pub fn kill_postmaster(&self) {
        process::signal(&Vec::from_iter(self.postmaster()), Signal::KILL);
    }

    /// Stops the server's processes where they are.
    pub fn pause_server(&self) {
        process::signal(&self.server_processes(), Signal::STOP);
    }

    /// Lets them go on.
    pub fn resume_server(&self) {
        process::signal(&self.server_processes(), Signal::CONT);
    }

    /// The ids of the server's processes.
    pub fn server_process_ids(&self) -> Vec<u32> {
        let ids = self.server_processes().into_iter();
        ids.map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
            .collect()
    }

    /// Whether any of the server's processes was stopped where it is.
    pub fn server_is_paused(&self) -> bool {
        self.has_process_that(State::Stopped)
    }

    /// Whether any of the server's processes waits for its disk at this moment.
    pub fn server_waits_for_its_disk(&self) -> bool {
        self.has_process_that(State::Uninterruptible)
    }

    /// Whether the agent was stopped where it is.
    pub fn agent_is_paused(&self) -> bool {
        let pid = self.daemon().as_ref().map(Daemon::pid);
        pid.is_some_and(|pid| process::state(pid) == Some(State::Stopped))
    }

    /// Whether the server is a standby; `None` while it does not say.
    pub fn in_recovery(&self) -> Option<bool> {
        match self.try_sql("SELECT pg_is_in_recovery()").ok()?.as_str() {
            "t" => Some(true),
            "f" => Some(false),
            _ => None,
        }
    }

    /// The first value that `sql` gives the administrator of this host; the empty text for none.
    ///
    /// # Panics
    /// When it fails, or takes longer than an answer may.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        match self.try_sql(sql) {
            Ok(value) => value,
            Err(error) => panic!("{}: {sql}: {error}", self.name()),
        }
    }

    /// As [`HerdNode::sql`], with what went wrong.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let config = self
            .administrator()
            .ok_or_else(|| "no server runs".to_owned())?;
        let sql = sql.to_owned();
        background::run(async move {
            timeout(ANSWER_MAX, first_value(config, &sql))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {ANSWER_MAX:?}")))
        })
    }

    /// The end of the agent's log, for a message.
    pub fn last_words(&self) -> String {
        let log = fs::read(self.agent_log()).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LAST_WORDS_BYTES)..];
        format!(
            "--- {}'s agent said last:\n{}",
            self.name(),
            String::from_utf8_lossy(tail)
        )
    }

    /// A superuser's way in through the socket, where `postmaster.pid` says it is.
    fn administrator(&self) -> Option<Config> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let mut lines = text.lines().skip(3);
        let port = lines.next()?.trim().parse().ok()?;
        let directory = lines.next()?.trim();
        let mut config = Config::new();
        config
            .host_path(directory)
            .port(port)
            .user("postgres")
            .dbname("postgres")
            .application_name("testbed");
        Some(config)
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
        // The file of a server that was killed stays, and its process id is given anew.
        self.server_processes().contains(&pid).then_some(pid)
    }

    fn has_process_that(&self, state: State) -> bool {
        let mut processes = self.server_processes().into_iter();
        processes.any(|pid| process::state(pid) == Some(state))
    }

    fn server_processes(&self) -> Vec<Pid> {
        process::working_below(&self.data)
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HerdNode {
    fn drop(&mut self) {
        self.kill_agent();
    }
}

async fn first_value(config: Config, sql: &str) -> Result<String, String> {
    let (client, connection) = config.connect(NoTls).await.map_err(|error| told(&error))?;
    let connection = tokio::spawn(connection);
    let messages = client.simple_query(sql).await;
    connection.abort();
    let messages = messages.map_err(|error| told(&error))?;
    let first = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        // The rest announces columns and counts rows; the enum is open.
        _ => None,
    });
    Ok(first.unwrap_or_default())
}
