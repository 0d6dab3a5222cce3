//! What `verify` proved, as JSON: `manada.verify/1`, described in `docs/json.md`.

use std::time::Duration;

use manada_herd::verify::{
    Acknowledgement, Comparison, DatabaseDigest, Latency, RoundsStopped, SkipReason,
    StandbyOutcome, StandbyProof, Verification, WriteAttempt,
};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Report<'a> {
    format: &'static str,
    holds: bool,
    primary: &'a str,
    took_ms: f64,
    commit: Option<Times>,
    acknowledged: Acknowledged,
    stopped_in_round: Option<u32>,
    standbys: Vec<Standby<'a>>,
    databases: Vec<Database<'a>>,
}

#[derive(Serialize)]
struct Times {
    rounds: usize,
    p50_ms: f64,
    max_ms: f64,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Acknowledged {
    NotDemanded,
    Hidden,
    Checked {
        needed: usize,
        commits: usize,
        proven: usize,
        broken: usize,
        fewest: usize,
    },
}

#[derive(Serialize)]
struct Standby<'a> {
    name: &'a str,
    holds: bool,
    readable: Option<Times>,
    missed_round: Option<u32>,
    confirms_flush: Option<bool>,
    refuses_writes: Option<bool>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Database<'a> {
    database: &'a str,
    holds: bool,
    lsn: Option<String>,
    tables: u64,
    rows: u64,
    sequences: u64,
    differences: Vec<Difference<'a>>,
    sequences_behind: Vec<Behind<'a>>,
    unread: Vec<Unread<'a>>,
    skipped: Vec<Skipped<'a>>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Difference<'a> {
    table: &'a str,
    standby: &'a str,
    primary_rows: u64,
    standby_rows: u64,
}

#[derive(Serialize)]
struct Behind<'a> {
    sequence: &'a str,
    standby: &'a str,
    primary_value: i64,
    standby_value: i64,
}

#[derive(Serialize)]
struct Unread<'a> {
    relation: &'a str,
    server: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Skipped<'a> {
    table: &'a str,
    reason: &'static str,
}

impl<'a> Report<'a> {
    pub(super) fn of(verification: &'a Verification) -> Report<'a> {
        Report {
            format: "manada.verify/1",
            holds: verification.holds(),
            primary: &verification.primary,
            took_ms: rounded_ms(verification.took),
            commit: verification.commits.as_ref().map(times),
            acknowledged: match verification.acknowledgement {
                Acknowledgement::NotDemanded => Acknowledged::NotDemanded,
                Acknowledgement::Hidden => Acknowledged::Hidden,
                Acknowledgement::Checked {
                    needed,
                    commits,
                    proven,
                    broken,
                    fewest,
                } => Acknowledged::Checked {
                    needed,
                    commits,
                    proven,
                    broken,
                    fewest,
                },
            },
            stopped_in_round: verification.stopped.as_ref().map(|stopped| match stopped {
                RoundsStopped::CommitWaits { round, .. } => *round,
            }),
            standbys: verification.standbys.iter().map(standby).collect(),
            databases: verification.databases.iter().map(database).collect(),
        }
    }
}

fn rounded_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn times(latency: &Latency) -> Times {
    Times {
        rounds: latency.count,
        p50_ms: rounded_ms(latency.p50),
        max_ms: rounded_ms(latency.max),
    }
}

fn standby(proof: &StandbyProof) -> Standby<'_> {
    let mut standby = Standby {
        name: &proof.name,
        holds: proof.holds(),
        readable: None,
        missed_round: None,
        confirms_flush: None,
        refuses_writes: None,
        reason: None,
    };
    match &proof.outcome {
        StandbyOutcome::NotAsked { reason } => standby.reason = Some(reason.clone()),
        StandbyOutcome::Asked {
            readable,
            missed_round,
            confirms_flush,
            writes,
        } => {
            standby.readable = readable.as_ref().map(times);
            standby.missed_round = *missed_round;
            standby.confirms_flush = Some(*confirms_flush);
            standby.refuses_writes = Some(*writes == WriteAttempt::Refused);
            if let WriteAttempt::Failed(reason) = writes {
                standby.reason = Some(reason.clone());
            }
        }
    }
    standby
}

fn database(digest: &DatabaseDigest) -> Database<'_> {
    let empty = Database {
        database: &digest.database,
        holds: digest.holds(),
        lsn: None,
        tables: 0,
        rows: 0,
        sequences: 0,
        differences: Vec::new(),
        sequences_behind: Vec::new(),
        unread: Vec::new(),
        skipped: Vec::new(),
        reason: None,
    };
    match &digest.outcome {
        Ok(comparison) => compared(comparison, empty),
        Err(unread) => Database {
            reason: Some(&unread.reason),
            ..empty
        },
    }
}

fn compared<'a>(comparison: &'a Comparison, empty: Database<'a>) -> Database<'a> {
    let differences = comparison.differences.iter();
    let behind = comparison.sequences_behind.iter();
    let unread = comparison.unread.iter();
    let skipped = comparison.skipped.iter();
    Database {
        lsn: Some(comparison.lsn.to_string()),
        tables: comparison.tables,
        rows: comparison.rows,
        sequences: comparison.sequences,
        differences: differences
            .map(|found| Difference {
                table: &found.table,
                standby: &found.standby,
                primary_rows: found.primary_rows,
                standby_rows: found.standby_rows,
            })
            .collect(),
        sequences_behind: behind
            .map(|found| Behind {
                sequence: &found.sequence,
                standby: &found.standby,
                primary_value: found.primary_value,
                standby_value: found.standby_value,
            })
            .collect(),
        unread: unread
            .map(|found| Unread {
                relation: &found.relation,
                server: &found.server,
                reason: &found.reason,
            })
            .collect(),
        skipped: skipped
            .map(|found| Skipped {
                table: &found.table,
                reason: skip_reason(found.reason),
            })
            .collect(),
        ..empty
    }
}

fn skip_reason(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::Unlogged => "unlogged",
        SkipReason::Foreign => "foreign",
        SkipReason::NotPopulated => "not_populated",
    }
}
