//! Writing a policy, and waiting until it is in force: by proof, not by hope.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use manada_model::{Lsn, SyncPolicy, SyncRule};
use manada_postgres::Session;
use manada_postgres::quote::{Unquotable, literal};
use manada_postgres::replace_file::FileOwner;
use manada_postgres::session::{ConnectError, server_message};
use manada_postgres::settings::{ManagedSettings, Setting, SettingsError};

use super::plan::{PARAMETER, Place, PolicyPlan};
use crate::probe::{Positions, Probe, ProbeError, after_cancel, ask};
use crate::survey::Way;

/// The pause between two looks at whether the server has read its files again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// How long a commit is left waiting where no standby can let it go: long enough to see that it
/// waits, short enough not to be a nuisance.
const WAIT_SEEN_WITHIN: Duration = Duration::from_millis(300);

/// How long a commit is watched at least before it counts as neither waiting nor returned, however
/// little time is left: on a busy machine it may not have begun to wait.
const WATCHED_AT_LEAST: Duration = Duration::from_secs(2);

/// A policy that is in force, and what showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Commits wait for nobody: one returned, and the server says so.
    Asynchronous,
    /// A commit returned, and this many standbys of the policy had flushed it by then.
    Acknowledged {
        /// How many had.
        flushed: usize,
        /// Whether it was seen waiting for them.
        seen_waiting: bool,
    },
    /// A commit was seen waiting, and nobody let it go.
    Waiting {
        /// For how long it was left so.
        waited: Duration,
    },
}

/// The policy is written, and whether it is in force could not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotInForce {
    /// The server still has the former value.
    NotRead {
        /// What it has.
        shown: String,
    },
    /// Commits returned although not enough standbys had flushed them.
    NotWaitedFor {
        /// The most that had.
        flushed: usize,
        /// How many commits were tried.
        commits: u32,
    },
    /// The policy is off, and a commit still waits.
    StillWaiting,
    /// Commits returned with enough standbys behind them, but none was seen waiting: whether they
    /// wait, or the standbys are merely fast, is open.
    NeverSeenWaiting {
        /// How many commits were tried.
        commits: u32,
    },
}

/// The policy could not be written, or not be tried.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file can't be read or written.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file's owner can't be told.
    #[error("reading {}: {source}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// A name that SQL can't hold.
    #[error("the policy can't be written as SQL: {0}")]
    Unquotable(#[from] Unquotable),
    /// The server refused, or the connection broke.
    #[error("can't {action}: {}", server_message(source))]
    Query {
        /// What was attempted.
        action: &'static str,
        /// The server's word.
        source: tokio_postgres::Error,
    },
    /// No further session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The probe could not be made.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// Writes the policy, has it read, and returns once it is in force or `limit` has passed.
/// `session` is a superuser's on the primary, and `way` is how it got there.
pub async fn apply(
    plan: &PolicyPlan,
    session: &Session,
    way: &Way,
    limit: Duration,
) -> Result<Result<Enforcement, NotInForce>, ApplyError> {
    let deadline = Instant::now() + limit;
    write(plan, session).await?;
    let reload = session.batch_execute("SELECT pg_reload_conf()").await;
    reload.map_err(query("have the settings read again"))?;
    if let Some(shown) = former_value(plan, way, deadline).await? {
        return Ok(Err(NotInForce::NotRead { shown }));
    }
    let trial = Trial {
        plan,
        session,
        probe: Probe::open(way).await?,
        deadline,
    };
    match plan.wanted.rule() {
        None => trial.nobody_waits().await,
        Some(_) => trial.commits_wait().await,
    }
}

fn query(action: &'static str) -> impl FnOnce(tokio_postgres::Error) -> ApplyError {
    move |source| ApplyError::Query { action, source }
}

async fn write(plan: &PolicyPlan, session: &Session) -> Result<(), ApplyError> {
    let value = plan.wanted.to_string();
    match &plan.place {
        Place::ManagedFile(path) => {
            let owner = FileOwner::like(path).map_err(|source| ApplyError::Owner {
                path: path.clone(),
                source,
            })?;
            let mut settings = ManagedSettings::read(path)?;
            settings.set(Setting::new(PARAMETER, value, reason(&plan.wanted)));
            settings.write(path, owner)?;
        }
        Place::AlterSystem => {
            let value = literal(&value)?;
            let sql = format!("ALTER SYSTEM SET {PARAMETER} = {value}");
            let altered = session.batch_execute(&sql).await;
            altered.map_err(query("set the policy with ALTER SYSTEM"))?;
        }
    }
    Ok(())
}

fn reason(policy: &SyncPolicy) -> &'static str {
    match policy {
        SyncPolicy::Off => "What commits wait for: nobody. Set by manada sync.",
        SyncPolicy::Wait(_) => "What commits wait for: standbys, by name. Set by manada sync.",
    }
}

/// The value that new sessions still have where it is not the wanted one. A session is made by the
/// postmaster, which reads the files before it tells the other processes to.
async fn former_value(
    plan: &PolicyPlan,
    way: &Way,
    deadline: Instant,
) -> Result<Option<String>, ApplyError> {
    let wanted = plan.wanted.to_string();
    loop {
        let fresh = way.open().await?;
        let rows = ask(&fresh, &format!("SHOW {PARAMETER}")).await;
        let rows = rows.map_err(query("read the policy back"))?;
        let shown = rows.into_iter().flatten().next().unwrap_or_default();
        if shown == wanted {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Ok(Some(shown));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

struct Trial<'a> {
    plan: &'a PolicyPlan,
    session: &'a Session,
    probe: Probe,
    deadline: Instant,
}

/// How one probe's commit went.
enum Commit {
    Returned {
        flushed: usize,
        seen_waiting: bool,
    },
    /// It waited until it was told to stop.
    Waited {
        waited: Duration,
    },
    /// It was neither seen waiting nor did it return.
    Stuck,
}

impl Trial<'_> {
    async fn nobody_waits(mut self) -> Result<Result<Enforcement, NotInForce>, ApplyError> {
        Ok(match self.commit(self.deadline).await? {
            Commit::Returned { .. } => Ok(Enforcement::Asynchronous),
            Commit::Waited { .. } | Commit::Stuck => Err(NotInForce::StillWaiting),
        })
    }

    /// Commits until one was seen waiting and enough standbys had flushed it when it returned. From
    /// one non-empty policy to another the second is enough: see `docs/design/sync.md`.
    async fn commits_wait(mut self) -> Result<Result<Enforcement, NotInForce>, ApplyError> {
        let was_synchronous = !self.plan.current.is_empty();
        let mut seen_waiting = false;
        let mut flushed_most = 0;
        let mut commits = 0;
        let left_waiting_until = if self.plan.hangs_at_once() {
            Instant::now() + WAIT_SEEN_WITHIN
        } else {
            self.deadline
        };
        loop {
            commits += 1;
            match self.commit(left_waiting_until).await? {
                Commit::Waited { waited } => return Ok(Ok(Enforcement::Waiting { waited })),
                Commit::Stuck => return Ok(Err(NotInForce::NeverSeenWaiting { commits })),
                Commit::Returned {
                    flushed,
                    seen_waiting: seen,
                } => {
                    seen_waiting |= seen;
                    flushed_most = flushed_most.max(flushed);
                    let enough = flushed >= self.plan.needed();
                    if enough && (seen_waiting || was_synchronous) {
                        return Ok(Ok(Enforcement::Acknowledged {
                            flushed,
                            seen_waiting,
                        }));
                    }
                }
            }
            if Instant::now() >= self.deadline {
                return Ok(Err(if flushed_most < self.plan.needed() {
                    NotInForce::NotWaitedFor {
                        flushed: flushed_most,
                        commits,
                    }
                } else {
                    NotInForce::NeverSeenWaiting { commits }
                }));
            }
        }
    }

    /// One commit, watched from the other session; its wait is ended at `until`.
    async fn commit(&mut self, until: Instant) -> Result<Commit, ApplyError> {
        let written = self.probe.write("on").await?;
        let look = format!(
            "SELECT wait_event FROM pg_stat_activity WHERE pid = {}",
            self.probe.pid()
        );
        let canceller = self.probe.canceller();
        let begun = Instant::now();
        let mut seen_waiting = false;
        let mut commit = std::pin::pin!(self.probe.commit());
        loop {
            let looked = tokio::select! {
                biased;
                done = &mut commit => {
                    let (_, positions) = done?;
                    let flushed = self.plan.wanted.rule().map_or(0, |rule| {
                        flushed(rule, &positions, written.message_lsn)
                    });
                    return Ok(Commit::Returned { flushed, seen_waiting });
                }
                looked = ask(self.session, &look) => looked.map_err(query("watch the probe"))?,
            };
            seen_waiting |= looked.first().is_some_and(|row| row == &["SyncRep"]);
            let watched_enough = seen_waiting || begun.elapsed() >= WATCHED_AT_LEAST;
            if Instant::now() >= until && watched_enough {
                break;
            }
        }
        let waited = begun.elapsed();
        canceller.cancel().await.map_err(ProbeError::from)?;
        // Cancelled, it has returned, or does at once.
        after_cancel(commit.await)?;
        Ok(if seen_waiting {
            Commit::Waited { waited }
        } else {
            Commit::Stuck
        })
    }
}

/// How many standbys of the rule had flushed WAL beyond the probe's last record when its commit
/// returned. That WAL was written after the reload, so their walsenders have the new policy.
fn flushed(rule: &SyncRule, positions: &Positions, written: Lsn) -> usize {
    let receivers = positions.receivers.iter();
    receivers
        .filter(|receiver| receiver.state.as_deref() == Some("streaming"))
        .filter(|receiver| rule.priority_of(&receiver.name).is_some())
        .filter(|receiver| receiver.flush > Some(written))
        .count()
}
