//! Clients that write and read while servers fail, and take down what they are told.
//!
//! A *roaming* client looks for the primary as a multi-host URI with `target_session_attrs`
//! does, on all servers at once. A *settled* one has one server, and keeps its session open
//! whatever becomes of that server: what it is acknowledged counts like all else.

mod clients;
mod session;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio_postgres::Config;

use crate::checker::Recorder;
use crate::host::Host;

/// The table that is written, and what it takes to be allowed to.
pub const TABLE: &str = "public.testbed_written";

/// The role of the clients. It is let in without a password: proving one at every attempt would
/// take more of a small machine than what is measured on it.
pub const ROLE: &str = "testbed_client";

/// Makes the role and the table.
pub fn preparation() -> String {
    format!(
        "CREATE ROLE {ROLE} LOGIN;
         CREATE TABLE {TABLE} (
             number bigint PRIMARY KEY, session int NOT NULL, sequence int NOT NULL,
             UNIQUE (session, sequence));
         GRANT SELECT, INSERT ON {TABLE} TO {ROLE}"
    )
}

/// A server that clients know.
#[derive(Clone, Debug)]
pub struct Server {
    /// By what name the history has it.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

impl Server {
    fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host(&self.address)
            .port(self.port)
            .user(ROLE)
            .dbname("postgres")
            .application_name("testbed");
        config
    }
}

/// How clients behave.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// How long one server gets to let a client in.
    pub connect_max: Duration,
    /// How long a statement may take until its outcome is given up.
    pub statement_max: Duration,
    /// The pause after what was answered.
    pub pause: Duration,
    /// The pause after what was not.
    pub retry_pause: Duration,
}

/// Which clients there are in one place.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where they are.
    pub host: Host,
    /// The servers that they know.
    pub servers: Vec<Server>,
    /// How many roam and write.
    pub writers: u32,
    /// How many roam and read.
    pub readers: u32,
    /// Whether each server has one that is settled on it.
    pub settled: bool,
}

/// Clients at work. They end when this is dropped; what they were told is in the recorder.
#[derive(Debug)]
pub struct Workload {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Sets them to work: each site on a thread that is on its host.
    pub fn start(sites: Vec<Site>, manners: Manners, recorder: &Arc<Recorder>) -> Workload {
        let stop = Arc::new(AtomicBool::new(false));
        let mut session = 0;
        let threads = sites
            .into_iter()
            .map(|site| {
                let first = session;
                session += site.sessions();
                let (stop, recorder) = (Arc::clone(&stop), Arc::clone(recorder));
                thread::spawn(move || {
                    let host = site.host.clone();
                    host.inside(|| work(&site, first, manners, &recorder, &stop))
                        .expect("a runtime can be made");
                })
            })
            .collect();
        Workload { stop, threads }
    }

    /// Ends them, after the outcome of what they have sent is known or given up.
    ///
    /// # Panics
    /// When a client did.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("clients do not panic");
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It was dropped in a panic: a client's own is told by its thread.
            thread.join().ok();
        }
    }
}

impl Site {
    fn sessions(&self) -> u32 {
        let settled = if self.settled { self.servers.len() } else { 0 };
        self.writers + u32::try_from(settled).expect("few servers")
    }
}

fn work(
    site: &Site,
    first: u32,
    manners: Manners,
    recorder: &Arc<Recorder>,
    stop: &Arc<AtomicBool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        let of_session = |session| clients::Client {
            servers: site.servers.clone(),
            manners,
            recorder: Arc::clone(recorder),
            stop: Arc::clone(stop),
            session,
        };
        let roaming = first + site.writers;
        for session in first..roaming {
            clients.spawn(of_session(session).write());
        }
        for _ in 0..site.readers {
            // A reader writes nothing, so it has no session of its own in the history.
            clients.spawn(of_session(0).read());
        }
        if site.settled {
            for (session, server) in (roaming..).zip(&site.servers) {
                let mut client = of_session(session);
                client.servers = vec![server.clone()];
                clients.spawn(client.write_settled());
            }
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("clients do not panic");
        }
    });
    Ok(())
}
