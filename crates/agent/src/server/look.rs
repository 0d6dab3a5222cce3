//! One look at the server: a query on a kept session, and now and then a new session, since a
//! postmaster that is stopped or hangs leaves the sessions that are open in working order.

use std::collections::BTreeMap;
use std::time::Duration;

use manada_core::position::{Position, RuleId};
use manada_core::server::{PrimaryFacts, ServerFacts, StandbyFacts};
use manada_herd::schema::DATABASE;
use manada_model::{Lsn, NodeName};
use manada_postgres::control_file::{ControlFile, DatabaseState};
use manada_postgres::process::{PostmasterStatus, RunningError, RunningServer};
use manada_postgres::{ConnectError, Conninfo, Session};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::Shared;
use super::gate::GateFile;
use super::said::{Said, SaidPrimary, SaidStandby};
use super::watch::Run;

/// How long a look may take before the server counts as unresponsive. A busy machine answers in
/// tens of milliseconds.
pub const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// How old the last new session may be. One costs the server a process and two milliseconds.
const NEW_SESSION_EVERY: Duration = Duration::from_secs(1);

/// A database that every server has beside the herd's.
const DATABASE_BESIDE: &str = "template1";

/// What looks remember.
#[derive(Debug, Default)]
pub(super) struct Eyes {
    session: Option<KeptSession>,
    gate: GateFile,
    /// The run as a primary that was seen last, and where its WAL ended when it was seen first.
    reign: Option<(Run, Lsn)>,
    /// When each follower replied last, as the server's own text.
    replies: BTreeMap<NodeName, String>,
    /// As of which reading of the settings it is known who else makes them.
    foreign_seen_at: Option<String>,
}

#[derive(Debug)]
struct KeptSession {
    session: Session,
    query: tokio_postgres::Statement,
    sees_rules: bool,
    opened_at: Instant,
    /// The number of the change of settings that was in force when it was opened: the postmaster
    /// had told all its processes of that one.
    change_at_opening: Option<String>,
}

/// Why the server was not asked with success.
enum NotAsked {
    /// It takes no sessions yet, or no more.
    NotReady,
    /// It has no room for another session: it lives.
    Full,
    /// It did not answer, or not in time.
    Silent,
}

impl Eyes {
    /// Has the next look open a session of its own.
    pub(super) fn close(&mut self) {
        self.session = None;
    }
}

impl Shared {
    pub(super) async fn look(&self, eyes: &mut Eyes, known_rule: RuleId) -> ServerFacts {
        let deadline = Instant::now() + LOOK_WITHIN;
        let server = match self.watch.running() {
            Ok(Some(server)) => server,
            Ok(None) => {
                eyes.close();
                return self.stopped(known_rule);
            }
            // A rewind recovers the data first, alone.
            Err(RunningError::SingleUser { .. }) if self.rejoin_is_unfinished() => {
                return ServerFacts::Unusable;
            }
            Err(error) => {
                tracing::warn!(%error, "whether the server runs can't be told");
                return ServerFacts::Unresponsive;
            }
        };
        match tokio::time::timeout_at(deadline, self.ask(eyes)).await {
            Ok(Ok(said)) => self.understand(eyes, &server, said),
            Ok(Err(NotAsked::NotReady)) => {
                eyes.close();
                ServerFacts::Starting
            }
            Ok(Err(NotAsked::Silent | NotAsked::Full)) | Err(_) => {
                eyes.close();
                // It may have ended meanwhile.
                match self.watch.running() {
                    Ok(None) => self.stopped(known_rule),
                    Ok(Some(server)) if !takes_sessions(server.status) => ServerFacts::Starting,
                    Ok(Some(_)) | Err(_) => ServerFacts::Unresponsive,
                }
            }
        }
    }

    /// What the files of a server say that does not run. Only a primary that was shut down leaves
    /// the end of its WAL in `pg_control`; a standby may have received more than it says there.
    fn stopped(&self, known_rule: RuleId) -> ServerFacts {
        let data_directory = &self.node.file.data_directory;
        if self.rejoin_is_unfinished() {
            return ServerFacts::Unusable;
        }
        let control_file = match ControlFile::read(data_directory) {
            Ok(control_file) => control_file,
            Err(error) => {
                tracing::warn!(%error, "the stopped server's data can't be used");
                return ServerFacts::Unusable;
            }
        };
        let clean_end = (control_file.state == DatabaseState::ShutDown).then(|| Position {
            rule: known_rule,
            flush_lsn: control_file.shutdown_checkpoint_end(),
        });
        ServerFacts::Stopped {
            clean_end,
            was_primary: !data_directory.join("standby.signal").exists(),
        }
    }

    async fn ask(&self, eyes: &mut Eyes) -> Result<Said, NotAsked> {
        let is_old = |kept: &KeptSession| kept.opened_at.elapsed() >= NEW_SESSION_EVERY;
        if eyes.session.as_ref().is_none_or(is_old) {
            match (self.open_kept().await, &mut eyes.session) {
                (Ok(kept), _) => eyes.session = Some(kept),
                // Its refusal shows that the postmaster works.
                (Err(NotAsked::Full), Some(kept)) => kept.opened_at = Instant::now(),
                (Err(error), _) => return Err(error),
            }
        }
        let kept = eyes.session.as_mut().ok_or(NotAsked::Silent)?;
        let mut said = match kept.ask().await {
            Ok(said) => said,
            // A promotion or the first rule came in between; or the session was ended.
            Err(_) => {
                *kept = self.open_kept().await?;
                kept.ask().await.map_err(|error| sort(&error))?
            }
        };
        if kept.is_behind(&said) {
            *kept = self.open_kept().await?;
            said = kept.ask().await.map_err(|error| sort(&error))?;
        }
        let at_opening = &kept.change_at_opening;
        said.change_is_proven = at_opening.as_ref() == Some(&said.change);
        if kept.change_at_opening.is_none() {
            kept.change_at_opening = Some(said.change.clone());
            said.change_is_proven = true;
        }
        self.see_foreign(&kept.session, &said, &mut eyes.foreign_seen_at)
            .await;
        Ok(said)
    }

    async fn open_kept(&self) -> Result<KeptSession, NotAsked> {
        let opened_at = Instant::now();
        let session = self.open().await.map_err(|error| not_connected(&error))?;
        let sees_rules = Said::HAS_RULES;
        let row = session.query_one(sees_rules, &[]).await;
        let sees_rules = row.map_err(|error| sort(&error))?.get(0);
        let query = session.prepare(&Said::query(sees_rules)).await;
        Ok(KeptSession {
            query: query.map_err(|error| sort(&error))?,
            session,
            sees_rules,
            opened_at,
            change_at_opening: None,
        })
    }

    /// A superuser's session through the socket. Where somebody has closed the herd's database to
    /// sessions, a primary opens it again: no server of the herd could be asked any more, and without
    /// a primary nobody could open it.
    pub(super) async fn open(&self) -> Result<Session, ConnectError> {
        let conninfo = self.node.superuser();
        match Session::open_as(&conninfo, Some(self.peer)).await {
            Err(refused) if is_closed(&refused) => {
                if !self.allow_sessions(&conninfo).await {
                    return Err(refused);
                }
                tracing::warn!(
                    database = DATABASE,
                    "somebody had closed it to sessions: opened"
                );
                Session::open_as(&conninfo, Some(self.peer)).await
            }
            opened => opened,
        }
    }

    /// Opens the herd's database from the one beside it; says whether it is open.
    async fn allow_sessions(&self, conninfo: &Conninfo) -> bool {
        let beside = conninfo.clone().with_dbname(DATABASE_BESIDE);
        let Ok(session) = Session::open_as(&beside, Some(self.peer)).await else {
            return false;
        };
        let is_standby = session.query_one("SELECT pg_is_in_recovery()", &[]).await;
        if !is_standby.is_ok_and(|row| !row.get::<_, bool>(0)) {
            return false;
        }
        let allow = format!("ALTER DATABASE {DATABASE} WITH ALLOW_CONNECTIONS true");
        session.batch_execute(&allow).await.is_ok()
    }

    fn understand(&self, eyes: &mut Eyes, server: &RunningServer, said: Said) -> ServerFacts {
        match (&said.primary, &said.standby) {
            (Some(primary), None) => self.primary(eyes, server, &said, primary),
            (None, Some(standby)) => {
                eyes.reign = None;
                self.standby(&said, standby)
            }
            // In the moment of its promotion.
            (None, None) | (Some(_), Some(_)) => ServerFacts::Starting,
        }
    }

    fn primary(
        &self,
        eyes: &mut Eyes,
        server: &RunningServer,
        said: &Said,
        primary: &SaidPrimary,
    ) -> ServerFacts {
        let run = Run::of(server);
        // Recovery ended before this server was first seen as a primary, so no later than there.
        let recovery_end_lsn = match eyes.reign {
            Some((seen, lsn)) if seen == run => lsn,
            Some(_) | None => primary.flush_lsn,
        };
        eyes.reign = Some((run, recovery_end_lsn));
        ServerFacts::Primary(PrimaryFacts {
            position: Position {
                rule: said.rule,
                flush_lsn: primary.flush_lsn,
            },
            recovery_end_lsn,
            enforced: super::policy::enforced_by(&primary.names),
            gate: eyes.gate.read(&self.node.file.hba_file),
            followers: primary.followers(&mut eyes.replies),
        })
    }

    fn standby(&self, said: &Said, standby: &SaidStandby) -> ServerFacts {
        let replay_lsn = standby.replay_lsn.unwrap_or_default();
        let settled =
            said.change_is_proven && standby.receives_no_more() && self.wal_ends_at(replay_lsn);
        let flush_lsn = if settled {
            replay_lsn
        } else {
            replay_lsn.max(standby.receive_lsn.unwrap_or_default())
        };
        ServerFacts::Standby(StandbyFacts {
            position: Position {
                rule: said.rule,
                flush_lsn,
            },
            settled,
            follows: self.whom(&standby.conninfo),
            streams: standby.receiver_status.as_deref() == Some("streaming"),
        })
    }
}

impl KeptSession {
    /// Whether a new session sees or proves more: rules that are there now, or a change of settings
    /// that came after this one was opened.
    fn is_behind(&self, said: &Said) -> bool {
        let at_opening = &self.change_at_opening;
        said.has_rules && !self.sees_rules
            || at_opening.as_ref().is_some_and(|at| *at != said.change)
    }

    async fn ask(&self) -> Result<Said, tokio_postgres::Error> {
        let row = self.session.query_one(&self.query, &[]).await?;
        let json: tokio_postgres::types::Json<Said> = row.try_get(0)?;
        Ok(json.0)
    }
}

fn not_connected(error: &ConnectError) -> NotAsked {
    match error {
        ConnectError::Refused { source, .. } => sort(source),
        ConnectError::Transport(_) | ConnectError::TimedOut { .. } => NotAsked::Silent,
    }
}

/// Whether the database takes no sessions, not even a superuser's.
fn is_closed(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Refused { source, .. }
        if source.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE))
}

fn sort(error: &tokio_postgres::Error) -> NotAsked {
    match error.code() {
        Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => NotAsked::NotReady,
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => NotAsked::Full,
        Some(_) | None => NotAsked::Silent,
    }
}

fn takes_sessions(status: PostmasterStatus) -> bool {
    match status {
        PostmasterStatus::Ready => true,
        PostmasterStatus::Starting | PostmasterStatus::Standby | PostmasterStatus::Stopping => {
            false
        }
    }
}
