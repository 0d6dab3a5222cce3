//! One real PostgreSQL server of a test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manada_model::MajorVersion;
use manada_postgres::os_user::OsUser;
use rustix::process::{Pid, Signal};
use tokio_postgres::{Config, Error};

use crate::background;
use crate::host::Host;
use crate::options::ServerOptions;
use crate::process;
use crate::programs::Programs;
use crate::scratch::Scratch;
use crate::sql::{Row, Session};
use crate::wait::poll_until;

/// How long a server may take to accept connections.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A real server on a port of its own, in a directory of its own. It is stopped and removed when
/// it is dropped, and also when the test fails or the test process is killed.
///
/// Its superuser is `postgres`. Every way in asks for a password (SCRAM), as `initdb` sets it up
/// when told to be careful: the settings are the stock ones but for the port, the socket's
/// directory and what [`ServerOptions`] were given.
#[derive(Debug)]
pub struct TestServer {
    pub(crate) scratch: Scratch,
    pub(crate) programs: Programs,
    pub(crate) owner: OsUser,
    pub(crate) host: Option<Host>,
    pub(crate) port: u16,
    pub(crate) password: String,
    pub(crate) postmaster: Mutex<Option<Child>>,
}

impl TestServer {
    /// A server with stock settings.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(programs: &Programs) -> TestServer {
        TestServer::with(programs).start()
    }

    /// What the server shall be like.
    pub fn with(programs: &Programs) -> ServerOptions {
        ServerOptions::new(programs)
    }

    /// Where it listens: 127.0.0.1, or the address of the host it is on.
    pub fn address(&self) -> &str {
        self.host.as_ref().map_or("127.0.0.1", Host::address)
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Its version.
    pub fn version(&self) -> MajorVersion {
        self.programs.version()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// Where its Unix socket is. The directory around the data directory too: it goes with the
    /// server, so a test may put there what belongs to it.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Its throw-away CA's certificate, where it was started with TLS.
    pub fn ca_certificate(&self) -> PathBuf {
        self.directory().join("ca.pem")
    }

    /// All it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory().join("log")
    }

    /// The superuser's URI, password included, over TCP to `postgres`.
    pub fn uri(&self) -> String {
        format!(
            "postgresql://postgres:{}@{}:{}/postgres",
            self.password,
            self.address(),
            self.port
        )
    }

    /// The superuser's connection over the Unix socket, to `postgres`.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host_path(self.directory())
            .port(self.port)
            .user("postgres")
            .password(&self.password)
            .dbname("postgres")
            .application_name("testbed");
        config
    }

    /// A session of the superuser.
    ///
    /// # Panics
    /// When the server can't be reached.
    #[track_caller]
    pub fn session(&self) -> Session {
        match Session::connect(&self.config()) {
            Ok(session) => session,
            Err(error) => panic!("{}\n{}", crate::sql::told(&error), self.log()),
        }
    }

    /// Runs `sql` in a session of its own; see [`Session::query`].
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Row> {
        self.session().query(sql)
    }

    /// Runs `sql` in a session of its own; see [`Session::try_query`].
    pub fn try_query(&self, sql: &str) -> Result<Vec<Row>, Error> {
        Session::connect(&self.config())?.try_query(sql)
    }

    /// The one value that `sql` gives; see [`Session::value`].
    ///
    /// # Panics
    /// When it fails, or gives anything but one value.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        self.session().value(sql)
    }

    /// Waits until `sql` gives `expected`, asking again in one session.
    ///
    /// # Panics
    /// When it does not in good time.
    #[track_caller]
    pub fn wait_for(&self, sql: &str, expected: &str) {
        let session = self.session();
        crate::wait::wait_for(sql, expected.to_owned(), || session.value(sql));
    }

    /// Sets parameters with `ALTER SYSTEM` and has them read again.
    ///
    /// # Panics
    /// When the server refuses one.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        let session = self.session();
        session.query(&format!(
            "ALTER SYSTEM SET {name} = '{}'",
            value.replace('\'', "''")
        ));
        session.query("SELECT pg_reload_conf()");
    }

    /// The postmaster's process id, while it runs as this test started it.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster().as_ref().map(Child::id)
    }

    /// Whether any process of it runs.
    pub fn is_running(&self) -> bool {
        !self.processes().is_empty()
    }

    /// Stops it in good order (`fast`: sessions are ended, then a checkpoint is written).
    ///
    /// # Panics
    /// When it does not stop.
    #[track_caller]
    pub fn stop(&self) {
        self.end(Signal::INT, "it was told to stop");
    }

    /// Kills all its processes at once, as a crash of the machine does to them. What they wrote
    /// stays in the system's cache: this is no power loss.
    ///
    /// # Panics
    /// When they do not end.
    #[track_caller]
    pub fn crash(&self) {
        process::kill(|| self.processes());
        reap(&mut self.postmaster());
        assert!(!self.is_running(), "a killed server still runs");
    }

    /// Stops all its processes where they are (SIGSTOP): connections stay open and silent.
    pub fn pause(&self) {
        process::signal(&self.processes(), Signal::STOP);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        process::signal(&self.processes(), Signal::CONT);
    }

    /// Starts it again after [`TestServer::stop`] or [`TestServer::crash`], with its directory as
    /// it is now.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_again(&self) {
        if let Err(error) = self.launch() {
            panic!("{error}");
        }
    }

    /// Stops it in good order and starts it again.
    ///
    /// # Panics
    /// When it does not stop or start.
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    #[track_caller]
    fn end(&self, signal: Signal, why: &str) {
        let mut postmaster = self.postmaster();
        let Some(child) = postmaster.as_mut() else {
            return;
        };
        process::signal(&[pid_of(child)], signal);
        let ended = poll_until(STOP_MAX, || !matches!(child.try_wait(), Ok(None)));
        assert!(ended, "a server still runs although {why}:\n{}", self.log());
        *postmaster = None;
    }

    /// Starts the postmaster and waits until it accepts connections.
    pub(crate) fn launch(&self) -> Result<(), StartError> {
        let mut command = match &self.host {
            Some(host) => host.command_of(&self.owner),
            None => self.owner.command("setpriv"),
        };
        command
            // When this process dies, however it does, the server ends too.
            .arg("--pdeathsig=QUIT")
            .arg(self.programs.program("postgres"))
            .arg("-D")
            .arg(self.data())
            .current_dir(self.directory())
            .stdin(Stdio::null());
        let log = self.log_file();
        let spawned = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|file| {
                command.stdout(file.try_clone()?).stderr(file);
                // The signal comes at the end of the parent's thread, and a test's thread ends.
                background::run(async move { command.spawn() })
            });
        let mut child = spawned.map_err(StartError::Spawn)?;
        let said_before = self.log().len();
        let mut ended = false;
        let ready = poll_until(START_MAX, || {
            ended = !matches!(child.try_wait(), Ok(None));
            ended || self.accepts_connections(child.id())
        });
        if ready && !ended {
            *self.postmaster() = Some(child);
            return Ok(());
        }
        if !ended {
            process::end(|| self.processes());
            reap(&mut Some(child));
        }
        let said = self.log().split_off(said_before);
        if said.contains("Address already in use") {
            Err(StartError::PortTaken(self.port))
        } else {
            Err(StartError::Refused(said))
        }
    }

    /// Whether `postmaster.pid` is that of `pid` and says so in its last line, as `pg_ctl` reads
    /// it.
    fn accepts_connections(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.first().is_some_and(|first| *first == pid.to_string())
            // A standby with `hot_standby` off never gets further than "standby".
            && lines.get(7).is_some_and(|status| matches!(*status, "ready" | "standby"))
    }

    fn processes(&self) -> Vec<Pid> {
        process::working_below(&self.data())
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        // A panic while it was held leaves a child that can still be ended.
        self.postmaster
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The scratch directory, dropped next, would end it too; only its parent can reap it.
        process::end(|| self.processes());
        reap(&mut self.postmaster());
    }
}

fn reap(postmaster: &mut Option<Child>) {
    if let Some(mut child) = postmaster.take() {
        // It was killed: this takes no time. An error means that it was reaped before.
        child.wait().ok();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the server program could not be run: {0}")]
    Spawn(#[source] io::Error),
    #[error("port {0} was taken before the server could listen on it")]
    PortTaken(u16),
    #[error("the server did not start. It said:\n{0}")]
    Refused(String),
}
