//! A running server as Debian's packages make it: its configuration in `/etc/postgresql`, its
//! data and its log elsewhere, started by `pg_ctlcluster`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use manada_postgres::Conninfo;
use manada_postgres::os_user::OsUser;
use manada_postgres::transport::Peer;
use manada_testbed::{Host, Missing};

use crate::machine::value_at;

/// The version that Debian 12 packages.
const VERSION: &str = "15";
/// The cluster's name, which Debian gives to the first.
const CLUSTER: &str = "main";
const PORT: u16 = 5432;

/// A cluster `15/main` on a host, with the machine's own `/etc/postgresql` left alone.
pub(crate) struct DebianServer {
    host: Host,
    root: PathBuf,
}

impl DebianServer {
    /// Makes and starts one, with no more than Debian's settings.
    pub(crate) fn start(host: &Host) -> Result<DebianServer, Missing> {
        if !Path::new("/usr/bin/pg_createcluster").exists() {
            return Err(Missing::new(
                "no pg_createcluster: install Debian's package postgresql-common",
            ));
        }
        let server = DebianServer {
            host: host.clone(),
            root: host.home().join("debian"),
        };
        for directory in ["etc", "lib", "log", "run"] {
            fs::create_dir_all(server.root.join(directory)).expect("root may");
        }
        let user = OsUser::for_new_server().expect("a user runs servers");
        user.own(&server.root.join("run")).expect("root may");
        let mut create = server.tool("pg_createcluster");
        create
            .arg("--datadir")
            .arg(server.data())
            .arg("--socketdir")
            .arg(server.root.join("run"))
            .arg("--logfile")
            .arg(server.root.join("log/main.log"))
            .arg(format!("--port={PORT}"))
            .args([VERSION, CLUSTER]);
        succeed(&mut create);
        succeed(
            server
                .tool("pg_ctlcluster")
                .args([VERSION, CLUSTER, "start"]),
        );
        Ok(server)
    }

    /// PGDATA, in which there is no configuration.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("lib/15/main")
    }

    /// Where the configuration is.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.root.join("etc/15/main")
    }

    /// One of Debian's tools on the server's host.
    fn tool(&self, name: &str) -> Command {
        let mut command = self.host.command(name);
        command.env("PG_CLUSTER_CONF_ROOT", self.root.join("etc"));
        command
    }

    /// The first value that `sql` gives the superuser through the socket.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        let conninfo = Conninfo::unix(self.root.join("run"), PORT, "postgres");
        let user = OsUser::of_data_directory(&self.data()).map_err(|error| error.to_string())?;
        let peer = Peer {
            uid: user.uid(),
            gid: user.gid(),
        };
        value_at(&conninfo, peer, sql)
    }

    /// As [`DebianServer::try_sql`], for what must succeed.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        match self.try_sql(sql) {
            Ok(value) => value,
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

/// A client that inserts one number after the other into `acknowledged`, each in a session of its
/// own, as long as it is left to.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

impl Writer {
    pub(crate) fn start(server: Arc<DebianServer>) -> Writer {
        server.sql("CREATE TABLE acknowledged (number int)");
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                // While the server restarts, it refuses; such a number was never acknowledged.
                let insert = format!("INSERT INTO acknowledged VALUES ({number})");
                if server.try_sql(&insert).is_ok() {
                    acknowledged.push(number);
                }
            }
            acknowledged
        });
        Writer { stop, thread }
    }

    /// Stops it; the numbers of which the server said that they are there.
    pub(crate) fn stop(self) -> Vec<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer does not panic")
    }
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
