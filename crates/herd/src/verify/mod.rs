//! Proof that a herd replicates, with figures. The reasoning: `docs/design/verify.md`.

mod digest;
mod moment;
mod rounds;

use std::time::{Duration, Instant};

use manada_model::{Node, NodeState, Role};
use manada_postgres::Session;
use manada_postgres::session::{ConnectError, server_message};
use tokio_postgres::error::SqlState;

use crate::probe::{ProbeError, ask};
use crate::survey::{Explored, Way};

pub use digest::{
    Comparison, DatabaseDigest, Difference, DigestError, SequenceBehind, SkipReason, SkippedTable,
    Unread, UnreadDatabase,
};
pub use moment::MomentError;
pub use rounds::{Acknowledgement, Latency, RoundsStopped};

/// What is to be proven.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// How many writes are followed.
    pub rounds: u32,
    /// Whether the data themselves are compared.
    pub digest: bool,
    /// How long a write may take to return, or to appear at a standby, before it is given up.
    pub limit: Duration,
}

/// What was proven, and what was not.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The primary's name.
    pub primary: String,
    /// How long commits took, with `synchronous_commit = on`.
    pub commits: Option<Latency>,
    /// Whether commits were on enough standbys when they returned.
    pub acknowledgement: Acknowledgement,
    /// Why fewer rounds were made than asked for.
    pub stopped: Option<RoundsStopped>,
    /// Each standby.
    pub standbys: Vec<StandbyProof>,
    /// The comparison of each database, where it was asked for.
    pub databases: Vec<DatabaseDigest>,
    /// How long all of it took.
    pub took: Duration,
}

/// What one standby showed.
#[derive(Clone, Debug)]
pub struct StandbyProof {
    /// Its name.
    pub name: String,
    /// What it showed.
    pub outcome: StandbyOutcome,
}

/// What asking a standby came to.
#[derive(Clone, Debug)]
pub enum StandbyOutcome {
    /// It was asked.
    Asked {
        /// From sending COMMIT to being readable there; `None` where no round came that far.
        readable: Option<Latency>,
        /// The round in which a write did not appear in time.
        missed_round: Option<u32>,
        /// Whether it had flushed, by its own word, all that the primary said it had.
        confirms_flush: bool,
        /// Whether it refused a write.
        writes: WriteAttempt,
    },
    /// It could not be asked.
    NotAsked {
        /// Why.
        reason: String,
    },
}

/// What a server makes of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAttempt {
    /// Refused as it should be: `read_only_sql_transaction`, SQLSTATE 25006.
    Refused,
    /// It took the write (which was rolled back).
    Taken,
    /// It failed otherwise.
    Failed(String),
}

impl StandbyProof {
    /// Whether all that was checked of it holds.
    pub fn holds(&self) -> bool {
        match &self.outcome {
            StandbyOutcome::Asked {
                readable,
                missed_round,
                confirms_flush,
                writes,
            } => {
                readable.is_some()
                    && missed_round.is_none()
                    && *confirms_flush
                    && *writes == WriteAttempt::Refused
            }
            StandbyOutcome::NotAsked { .. } => false,
        }
    }
}

impl Verification {
    /// Whether all that was checked holds.
    pub fn holds(&self) -> bool {
        self.standbys.iter().all(StandbyProof::holds)
            && self.stopped.is_none()
            && self.acknowledgement.holds()
            && self.databases.iter().all(DatabaseDigest::holds)
    }
}

/// Nothing could be proven.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Nobody takes writes, or more than one does.
    #[error("there must be one primary to write to, and {primaries} answered")]
    NotOnePrimary {
        /// How many answered.
        primaries: usize,
    },
    /// The primary can't be written to.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The list of databases can't be read.
    #[error("{primary} did not list its databases: {}", server_message(source))]
    Databases {
        /// The primary.
        primary: String,
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// No session with the primary.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A standby with a session.
#[derive(Debug)]
struct Asked<'a> {
    name: String,
    /// The name its upstream knows it by.
    application_name: Option<String>,
    way: &'a Way,
    session: Session,
}

/// Proves what the options ask for, for the herd as it was found.
pub async fn verify(herd: &Explored, options: &VerifyOptions) -> Result<Verification, VerifyError> {
    let begun = Instant::now();
    let status = &herd.status;
    let primary = status.primary();
    let (Some(primary), Some(way)) = (primary, primary.and_then(|node| herd.way_to(node))) else {
        let primaries = status.nodes.iter().filter(|node| node.primary().is_some());
        return Err(VerifyError::NotOnePrimary {
            primaries: primaries.count(),
        });
    };
    let (asked, mut proofs) = reach(herd).await;
    let outcome = rounds::run(primary, way, &asked, options).await?;
    for (standby, seen) in asked.iter().zip(outcome.standbys) {
        proofs.push(StandbyProof {
            name: standby.name.clone(),
            outcome: StandbyOutcome::Asked {
                readable: seen.readable,
                missed_round: seen.missed_round,
                confirms_flush: seen.confirms_flush,
                writes: try_to_write(&standby.session).await,
            },
        });
    }
    let order = |proof: &StandbyProof| {
        let mut nodes = status.nodes.iter();
        nodes.position(|node| node.name == proof.name)
    };
    proofs.sort_by_key(order);
    let databases = if options.digest {
        digest::all_databases(way, &primary.name, &asked, options.limit).await?
    } else {
        Vec::new()
    };
    Ok(Verification {
        primary: primary.name.clone(),
        commits: outcome.commits,
        acknowledgement: outcome.acknowledgement,
        stopped: outcome.stopped,
        standbys: proofs,
        databases,
        took: begun.elapsed(),
    })
}

/// A session with each standby, and why there is none with the others.
async fn reach(herd: &Explored) -> (Vec<Asked<'_>>, Vec<StandbyProof>) {
    let mut asked = Vec::new();
    let mut unasked = Vec::new();
    for node in herd.status.standbys() {
        let reached = match &node.state {
            NodeState::Unreachable { reason, .. } => Err(reason.clone()),
            NodeState::SeenByUpstream if !applies_wal(node) => continue,
            NodeState::SeenByUpstream => Err("its address is not known".to_owned()),
            NodeState::Answered(_) => match herd.way_to(node) {
                None => Err("its address is not known".to_owned()),
                Some(way) => match way.open().await {
                    Ok(session) => Ok((way, session)),
                    Err(error) => Err(error.to_string()),
                },
            },
        };
        match reached {
            Ok((way, session)) => asked.push(Asked {
                name: node.name.clone(),
                application_name: node
                    .walsender()
                    .map(|walsender| walsender.application_name.clone()),
                way,
                session,
            }),
            Err(reason) => unasked.push(StandbyProof {
                name: node.name.clone(),
                outcome: StandbyOutcome::NotAsked { reason },
            }),
        }
    }
    (asked, unasked)
}

/// Whether a receiver that was not asked is a server: a mere receiver of WAL never replays.
fn applies_wal(node: &Node) -> bool {
    let progress = node.walsender().map(|walsender| &walsender.progress);
    node.role() == Role::Standby
        && progress.is_none_or(|progress| {
            progress
                .shown()
                .is_none_or(|progress| progress.replay_lsn.is_some())
        })
}

/// Tries to make a table that would vanish with the transaction.
async fn try_to_write(session: &Session) -> WriteAttempt {
    let attempt = ask(
        session,
        "BEGIN; CREATE TEMPORARY TABLE manada_verify_write ()",
    )
    .await;
    // Whatever came of it is undone; a session that broke has nothing left to undo.
    session.batch_execute("ROLLBACK").await.ok();
    match attempt {
        Ok(_) => WriteAttempt::Taken,
        Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
            WriteAttempt::Refused
        }
        Err(error) => WriteAttempt::Failed(server_message(&error)),
    }
}
