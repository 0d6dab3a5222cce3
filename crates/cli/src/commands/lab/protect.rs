//! A herd that survives its primary: agents, a crash under load, and what is left of what was
//! acknowledged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use manada_core::record::Record;
use manada_postgres::Session;
use manada_postgres::process::running;
use manada_store::{Access, Store};
use rustix::process::{Pid, Signal, kill_process};

use super::agents::{self, Doors};
use super::demonstrate::Herd;
use super::home::LabHome;
use super::ports::Ports;
use super::screen::Screen;
use super::server::{LOOK_INTERVAL, Server, until};
use super::step::{StepId, Used};
use super::texts::Texts;
use crate::error::Failure;

/// How many rows are acknowledged before the primary is killed.
const ROWS_BEFORE: usize = 200;
/// How often the primary is killed until another takes over.
const KILLS_MAX: usize = 5;
/// How long sessions go on whose postmaster was killed.
const ORPHANS_LIVE_MAX: Duration = Duration::from_secs(1);
/// The primary's place among the servers.
const PRIMARY: usize = 0;
/// How long the writer waits for one answer before it asks another server.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Protects the lab's herd, kills its primary under load, and waits until it is whole again. The
/// herd has another primary afterwards.
pub(crate) async fn show(
    herd: Herd,
    home: &LabHome,
    ports: &Ports,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<Herd, Failure> {
    let store = start_agents(&herd, home, ports, screen, texts).await?;
    let (herd, old) = show_failover(herd, screen, texts).await?;
    show_rejoin(&herd, &old, &store, screen, texts).await?;
    Ok(herd)
}

async fn start_agents(
    herd: &Herd,
    home: &LabHome,
    ports: &Ports,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<Store, Failure> {
    let running = screen.begin(StepId::Protect);
    let location = agents::store_of(home);
    let mut used = Vec::new();
    for server in servers(herd) {
        let (Some(listen), Some(health)) = (ports.next_free(), ports.next_free()) else {
            return Err(server.failure("has no agent", "no port is free"));
        };
        let doors = Doors::at(listen, health);
        let arguments = agents::first_arguments(&server.node, &location, doors);
        agents::start(&server.node, &arguments)?;
        if used.is_empty() {
            used.push(Used::command(agents::COMMAND_SHOWN));
        }
    }
    let store = open_store(herd, &location).await?;
    let count = herd.standbys.len();
    wait_for_record(herd, &store, |record| {
        record.members.len() > count && record.policies.len() == 1
    })
    .await?;
    screen.done(running, texts.protected(count + 1), used);
    Ok(store)
}

async fn open_store(herd: &Herd, location: &str) -> Result<Store, Failure> {
    let failed = |error: &dyn std::fmt::Display| herd.primary.failure("can't be protected", error);
    let location = location.parse().map_err(|error| failed(&error))?;
    let name = &herd.primary.node.file.herd;
    Store::open(&location, name, &Access::default())
        .await
        .map_err(|error| failed(&error))
}

/// Waits until the herd's record is as it should be.
async fn wait_for_record(
    herd: &Herd,
    store: &Store,
    is_so: impl Fn(&Record) -> bool,
) -> Result<Duration, Failure> {
    let seen = until(async || {
        let read = store.read().await.ok();
        let record = read.and_then(|snapshot| snapshot.record);
        Ok(record.filter(|record| is_so(&record.value)))
    })
    .await?;
    let why = "the herd's record did not become what it should: see log/agent.log of the nodes";
    seen.map(|(_, after)| after)
        .ok_or_else(|| herd.primary.failure("is not protected", why))
}

/// A writer goes on while the primary is killed. Says which server led before.
async fn show_failover(
    herd: Herd,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<(Herd, Server), Failure> {
    let step = screen.begin(StepId::Failover);
    herd.run("CREATE TABLE test_failover (id bigint PRIMARY KEY);")
        .await?;
    let writer = Writer::start(&herd);
    let written = until(async || Ok((writer.count() >= ROWS_BEFORE).then_some(()))).await?;
    if written.is_none() {
        return Err(herd.primary.failure("takes no writes", "see its log"));
    }
    // An agent's first look changes its standby's settings, and its connection is made anew.
    let streaming = format!(
        "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' HAVING count(*) = {}",
        herd.standbys.len()
    );
    if until(async || herd.look(&streaming).await).await?.is_none() {
        return Err(herd.primary.failure("is not followed", "see its log"));
    }
    let (killed, replaced) = kill_until_replaced(&herd, &writer).await?;
    let acknowledged = writer.stop().await;
    let (herd, old) = led_by(herd, replaced.by).await?;
    let missing = missing_rows(&herd, &acknowledged).await?;
    if missing > 0 {
        let why = format!("{missing} acknowledged rows are missing");
        return Err(herd.primary.failure("has lost data", why));
    }
    let count = "SELECT count(*) FROM test_failover;";
    let rows = herd.look(count).await?.unwrap_or_default();
    let kills = killed
        .into_iter()
        .map(|pid| Used::command(format!("kill -9 {pid}")));
    let used = kills
        .chain([
            Used::sql(herd.primary.name(), count).gives(rows),
            Used::remark(texts.nothing_lost(acknowledged.len())),
        ])
        .collect();
    let title = texts.failed_over(
        old.name().as_str(),
        herd.primary.name().as_str(),
        replaced.after,
    );
    screen.done(step, title, used);
    Ok((herd, old))
}

/// Who took over, and how long after the kill it took a write.
struct Replaced {
    by: usize,
    after: Duration,
}

/// Kills the primary, and again where it came back itself: on a machine so busy that nobody took
/// over within the time of an election, it is started in place, and rightly so. Says what was killed.
async fn kill_until_replaced(
    herd: &Herd,
    writer: &Writer,
) -> Result<(Vec<i32>, Replaced), Failure> {
    let mut killed = Vec::new();
    while killed.len() < KILLS_MAX {
        killed.push(kill_postmaster(&herd.primary)?);
        let killed_at = Instant::now();
        let first = until(async || Ok(writer.first_since(killed_at))).await?;
        match first {
            Some(((by, at), _)) if by != PRIMARY => {
                let after = at.duration_since(killed_at);
                return Ok((killed, Replaced { by, after }));
            }
            Some(_) => {}
            None => break,
        }
    }
    let why = "no other server took a write: see log/agent.log of the nodes";
    Err(herd.primary.failure("was not replaced", why))
}

/// The old primary comes back by itself, as a standby that commits wait for.
async fn show_rejoin(
    herd: &Herd,
    old: &Server,
    store: &Store,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<(), Failure> {
    let step = screen.begin(StepId::Rejoin);
    let waited = wait_for_record(herd, store, |record| {
        let [published] = record.policies.as_slice() else {
            return false;
        };
        published.policy.standbys.contains(old.name())
    })
    .await?;
    let query = format!(
        "SELECT state FROM pg_stat_replication WHERE application_name = '{}';",
        old.name()
    );
    let state = herd.look(&query).await?.unwrap_or_default();
    let used = vec![Used::sql(herd.primary.name(), query).gives(state)];
    let title = texts.rejoined(old.name().as_str(), herd.primary.name().as_str(), waited);
    screen.done(step, title, used);
    Ok(())
}

fn kill_postmaster(server: &Server) -> Result<i32, Failure> {
    let failed = |error: &dyn std::fmt::Display| server.failure("was not killed", error);
    let found = running(&server.node.file.data_directory).map_err(|error| failed(&error))?;
    let pid = found.map(|server| server.pid).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| failed(&"it does not run"))?;
    kill_process(pid, Signal::KILL).map_err(|error| failed(&error))?;
    Ok(pid.as_raw_nonzero().get())
}

fn servers(herd: &Herd) -> impl Iterator<Item = &Server> {
    std::iter::once(&herd.primary).chain(&herd.standbys)
}

/// The same herd with the server at that place as its primary, and who was it before.
async fn led_by(herd: Herd, place: usize) -> Result<(Herd, Server), Failure> {
    let mut all: Vec<Server> = servers(&herd).cloned().collect();
    let old = herd.primary;
    let primary = all.remove(place);
    let session = primary.session(&herd.account).await?;
    let herd = Herd {
        primary,
        standbys: all,
        account: herd.account,
        session,
    };
    Ok((herd, old))
}

/// How many of the rows that were acknowledged are not there.
async fn missing_rows(herd: &Herd, acknowledged: &[i64]) -> Result<usize, Failure> {
    let query = "SELECT id FROM unnest($1::bigint[]) AS acknowledged (id) \
                 WHERE NOT EXISTS (SELECT FROM test_failover AS row WHERE row.id = acknowledged.id)";
    let rows = herd.session.query(query, &[&acknowledged]).await;
    let rows = rows.map_err(|error| herd.primary.refused(query, &error))?;
    Ok(rows.len())
}

/// A client that writes one row after the other, to whichever server takes it.
struct Writer {
    task: tokio::task::JoinHandle<()>,
    log: Arc<Mutex<Vec<Acknowledged>>>,
}

/// A row, who acknowledged it, and when.
#[derive(Clone, Copy)]
struct Acknowledged {
    id: i64,
    by: usize,
    at: Instant,
}

impl Writer {
    fn start(herd: &Herd) -> Writer {
        let log = Arc::new(Mutex::new(Vec::new()));
        let all: Vec<Server> = servers(herd).cloned().collect();
        let (account, noted) = (herd.account.clone(), Arc::clone(&log));
        let task = tokio::spawn(async move {
            let mut id = 0;
            loop {
                for (place, server) in all.iter().enumerate() {
                    let opening = server.session(&account);
                    let Ok(Ok(session)) = tokio::time::timeout(ANSWER_MAX, opening).await else {
                        continue;
                    };
                    write(&session, place, &mut id, &noted).await;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        });
        Writer { task, log }
    }

    fn count(&self) -> usize {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Who acknowledged the first row after that moment, and when. Sessions of a killed primary take
    /// notice within [`ORPHANS_LIVE_MAX`]: what they acknowledge until then is not counted.
    fn first_since(&self, moment: Instant) -> Option<(usize, Instant)> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let orphaned = |row: &Acknowledged| row.by == PRIMARY && row.at < moment + ORPHANS_LIVE_MAX;
        let first = log.iter().find(|row| row.at > moment && !orphaned(row));
        first.map(|row| (row.by, row.at))
    }

    /// Ends it, and says which rows were acknowledged.
    async fn stop(self) -> Vec<i64> {
        self.task.abort();
        // It ends with the error that it was ended.
        let _ = self.task.await;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|row| row.id).collect()
    }
}

/// Writes until a write fails. What became of that one is not known: its number is not used again.
async fn write(session: &Session, by: usize, id: &mut i64, log: &Mutex<Vec<Acknowledged>>) {
    loop {
        *id += 1;
        let statement = format!("INSERT INTO test_failover VALUES ({id})");
        let writing = session.batch_execute(&statement);
        let Ok(Ok(())) = tokio::time::timeout(ANSWER_MAX, writing).await else {
            return;
        };
        let at = Instant::now();
        let row = Acknowledged { id: *id, by, at };
        log.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }
}
