//! Writes that are followed: when they return, on whose disks they are then, when they can be read.

use std::time::{Duration, Instant};

use manada_model::{Lsn, Node, SyncPolicy, SyncRule};
use manada_postgres::Session;

use super::{Asked, VerifyError, VerifyOptions};
use crate::probe::{Positions, Probe, ProbeError, Written, after_cancel, ask};
use crate::survey::Way;

/// Looks at a standby that follow each other at once; the next ones leave it some air.
const EAGER_LOOKS: u32 = 16;
/// The pause between those.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The middle and the end of a number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// How many there are.
    pub count: usize,
    /// Half of them took no longer.
    pub p50: Duration,
    /// None took longer.
    pub max: Duration,
}

impl Latency {
    fn of(mut times: Vec<Duration>) -> Option<Latency> {
        times.sort();
        Some(Latency {
            count: times.len(),
            p50: *times.get(times.len().checked_sub(1)? / 2)?,
            max: *times.last()?,
        })
    }
}

/// On how many disks commits were when they returned, against what the policy demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// The policy demands nothing.
    NotDemanded,
    /// The role that asks may not see how far the standbys are.
    Hidden,
    /// It was looked at.
    Checked {
        /// How many standbys the policy demands.
        needed: usize,
        /// Commits that returned.
        commits: usize,
        /// Those with that many standbys surely behind them.
        proven: usize,
        /// Those with fewer, surely.
        broken: usize,
        /// The fewest standbys that surely had one.
        fewest: usize,
    },
}

impl Acknowledgement {
    /// Whether no commit was seen to break the policy.
    pub fn holds(&self) -> bool {
        match self {
            Acknowledgement::NotDemanded | Acknowledgement::Hidden => true,
            Acknowledgement::Checked { broken, .. } => *broken == 0,
        }
    }
}

/// Why the rounds ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundsStopped {
    /// A commit did not return in time: it waits for standbys that don't answer.
    CommitWaits {
        /// The round, from 1.
        round: u32,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// What the rounds showed.
pub(super) struct Rounds {
    pub(super) commits: Option<Latency>,
    pub(super) acknowledgement: Acknowledgement,
    pub(super) stopped: Option<RoundsStopped>,
    /// In the order of the standbys that were given.
    pub(super) standbys: Vec<Seen>,
}

/// What the rounds showed of one standby.
pub(super) struct Seen {
    pub(super) readable: Option<Latency>,
    pub(super) missed_round: Option<u32>,
    pub(super) confirms_flush: bool,
}

#[derive(Clone, Default)]
struct Tally {
    times: Vec<Duration>,
    missed_round: Option<u32>,
    contradicted: bool,
}

/// A commit that returned.
struct Returned {
    took: Duration,
    written: Written,
    positions: Positions,
    /// The standbys that showed it before it had returned, by the name their upstream knows them by.
    /// A standby replays only what it has flushed.
    shown_before: Vec<String>,
}

pub(super) async fn run(
    primary: &Node,
    way: &Way,
    standbys: &[Asked<'_>],
    options: &VerifyOptions,
) -> Result<Rounds, VerifyError> {
    let server = primary.status();
    let policy = server.and_then(|status| status.policy.policy.as_ref());
    let rule = policy.and_then(SyncPolicy::rule);
    let mut probe = Probe::open(way).await?;
    let mut tallies = vec![Tally::default(); standbys.len()];
    let mut returned = Vec::new();
    let mut stopped = None;
    for round in 1..=options.rounds {
        let written = probe.write("on").await?;
        let begun = Instant::now();
        let looking = standbys.iter().zip(&tallies).map(|(standby, tally)| {
            let missing = tally.missed_round.is_some();
            let xid = written.xid.clone();
            async move {
                if missing {
                    return None;
                }
                sighting(&standby.session, &xid, begun, options.limit).await
            }
        });
        let (committed, sightings) = tokio::join!(
            commit(&mut probe, options.limit),
            futures_util::future::join_all(looking)
        );
        let Some((took, positions)) = committed? else {
            stopped = Some(RoundsStopped::CommitWaits {
                round,
                waited: options.limit,
            });
            break;
        };
        // Read later than what the primary was told, so never below it.
        let own = standbys.iter().map(|standby| own_flush(&standby.session));
        let own = futures_util::future::join_all(own).await;
        let mut shown_before = Vec::new();
        for (index, standby) in standbys.iter().enumerate() {
            let tally = &mut tallies[index];
            let contradicts = claimed_flush(standby, &positions)
                .zip(own[index])
                .is_some_and(|(claimed, own)| own < claimed);
            tally.contradicted |= contradicts;
            match sightings[index] {
                None => {
                    tally.missed_round.get_or_insert(round);
                }
                Some(after) => {
                    tally.times.push(after);
                    shown_before.extend(standby.application_name.clone().filter(|_| after < took));
                }
            }
        }
        returned.push(Returned {
            took,
            written,
            positions,
            shown_before,
        });
    }
    Ok(Rounds {
        acknowledgement: match (rule, server.is_some_and(|status| status.rights.statistics)) {
            (None, _) => Acknowledgement::NotDemanded,
            (Some(_), false) => Acknowledgement::Hidden,
            (Some(rule), true) => acknowledgement(rule, &returned),
        },
        commits: Latency::of(returned.iter().map(|commit| commit.took).collect()),
        stopped,
        standbys: tallies.into_iter().map(Tally::result).collect(),
    })
}

impl Tally {
    fn result(self) -> Seen {
        Seen {
            readable: Latency::of(self.times),
            missed_round: self.missed_round,
            confirms_flush: !self.contradicted,
        }
    }
}

/// What the primary says the standby has flushed, where its name tells which one it is.
fn claimed_flush(standby: &Asked<'_>, positions: &Positions) -> Option<Lsn> {
    let name = standby.application_name.as_ref()?;
    let mut receivers = positions.receivers.iter();
    let mut named = receivers.by_ref().filter(|receiver| receiver.name == *name);
    let first = named.next()?;
    named.next().is_none().then_some(first.flush).flatten()
}

/// Up to where a standby has flushed, by its own word; `None` where it never streamed.
async fn own_flush(session: &Session) -> Option<Lsn> {
    let rows = ask(session, "SELECT pg_last_wal_receive_lsn()")
        .await
        .ok()?;
    rows.first()?.first()?.parse().ok()
}

/// Commits; `None` where that took longer than `limit`: then the wait is ended.
async fn commit(
    probe: &mut Probe,
    limit: Duration,
) -> Result<Option<(Duration, Positions)>, ProbeError> {
    let canceller = probe.canceller();
    let mut committing = std::pin::pin!(probe.commit());
    match tokio::time::timeout(limit, &mut committing).await {
        Ok(committed) => committed.map(Some),
        Err(_) => {
            canceller.cancel().await?;
            after_cancel(committing.await)?;
            Ok(None)
        }
    }
}

/// Looks until a transaction shows as committed, at most `limit` long.
///
/// A standby's `pg_xact_status` says "committed" once the transaction is no longer among those in
/// progress there, so once new snapshots see its rows. It raises an error for an id the standby has
/// not heard of, which is why it is asked only for ids below the snapshot's end.
async fn sighting(
    session: &Session,
    xid: &str,
    begun: Instant,
    limit: Duration,
) -> Option<Duration> {
    let look = format!(
        "SELECT CASE WHEN '{xid}'::xid8 < pg_snapshot_xmax(pg_current_snapshot()) \
         THEN pg_xact_status('{xid}') END"
    );
    let looking = async {
        let mut looks = 0_u32;
        loop {
            let rows = ask(session, &look).await.ok()?;
            if rows.first()?.first()? == "committed" {
                return Some(begun.elapsed());
            }
            looks += 1;
            if looks > EAGER_LOOKS {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
    };
    tokio::time::timeout(limit, looking).await.ok().flatten()
}

/// Counts disks. A commit's record lies between the transaction's last record and the end of all WAL
/// when it had returned: who has flushed that end surely has it, who has not flushed beyond that
/// record surely has not, and in between it is open. Who showed the transaction before that surely
/// has it, too.
fn acknowledgement(rule: &SyncRule, returned: &[Returned]) -> Acknowledgement {
    let needed = usize::try_from(rule.count.get()).unwrap_or(usize::MAX);
    let mut proven = 0;
    let mut broken = 0;
    let mut fewest = usize::MAX;
    for commit in returned {
        let counted = |enough: &dyn Fn(Lsn) -> bool| {
            let receivers = commit.positions.receivers.iter();
            receivers
                .filter(|receiver| rule.priority_of(&receiver.name).is_some())
                .filter(|receiver| {
                    receiver.flush.is_some_and(enough)
                        || commit.shown_before.contains(&receiver.name)
                })
                .count()
        };
        let surely = counted(&|flush| flush >= commit.positions.inserted);
        let perhaps = counted(&|flush| flush > commit.written.message_lsn);
        proven += usize::from(surely >= needed);
        broken += usize::from(perhaps < needed);
        fewest = fewest.min(surely);
    }
    Acknowledgement::Checked {
        needed,
        commits: returned.len(),
        proven,
        broken,
        fewest: if returned.is_empty() { 0 } else { fewest },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Receiver;

    /// A commit whose record lies between 100 and 200, and how far its receivers were.
    fn returned(flushed: &[(&str, u64)], shown_before: &[&str]) -> Returned {
        let receiver = |(name, lsn): &(&str, u64)| Receiver {
            name: (*name).to_owned(),
            state: Some("streaming".to_owned()),
            write: None,
            flush: Some(Lsn(*lsn)),
            replay: None,
        };
        Returned {
            took: Duration::ZERO,
            written: Written {
                xid: "1".to_owned(),
                message_lsn: Lsn(100),
            },
            positions: Positions {
                inserted: Lsn(200),
                receivers: flushed.iter().map(receiver).collect(),
            },
            shown_before: shown_before.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn checked(commits: &[Returned]) -> Acknowledgement {
        let policy: SyncPolicy = "ANY 1 (a, b)".parse().expect("a policy");
        acknowledgement(policy.rule().expect("a rule"), commits)
    }

    #[test]
    fn a_commit_nobody_had_flushed_breaks_the_policy() {
        let commits = [
            returned(&[("a", 100), ("b", 50), ("stranger", 200)], &[]),
            returned(&[("a", 200), ("b", 50)], &[]),
        ];
        let found = checked(&commits);
        assert_eq!(
            found,
            Acknowledgement::Checked {
                needed: 1,
                commits: 2,
                proven: 1,
                broken: 1,
                fewest: 0
            }
        );
        assert!(!found.holds());
    }

    #[test]
    fn a_position_in_between_is_open_unless_the_standby_showed_the_commit_before() {
        let proven = |shown_before: &[&str]| match checked(&[returned(&[("a", 150)], shown_before)])
        {
            Acknowledgement::Checked { proven, broken, .. } => (proven, broken),
            other => panic!("{other:?}"),
        };
        assert_eq!(proven(&[]), (0, 0));
        assert_eq!(proven(&["a"]), (1, 0));
    }

    #[test]
    fn half_of_the_times_are_at_most_the_p50() {
        let times = [5, 1, 3, 2].map(Duration::from_millis).to_vec();
        let latency = Latency::of(times).expect("some");
        assert_eq!(latency.p50, Duration::from_millis(2));
        assert_eq!(latency.max, Duration::from_millis(5));
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
