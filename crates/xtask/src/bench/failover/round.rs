//! One fault, from a whole herd to a whole herd.

use std::fmt;
use std::time::Duration;

use manada_testbed::checker::History;
use manada_testbed::faults::Partition;
use manada_testbed::{HerdNode, poll_until};

use super::super::client::{self, AWAY_MAX};
use super::{Fault, Measured};

/// What came of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// How long no write was acknowledged.
    pub(super) away: Duration,
    /// How long it took after that, with the fault healed, until the herd was whole.
    pub(super) whole: Duration,
    /// How many promises were not kept.
    pub(super) violations: usize,
    /// How many writes were acknowledged.
    pub(super) acknowledged: usize,
    /// Whether etcd's leader was on the primary's host.
    pub(super) with_store_leader: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "writes away {:.3} s, whole {:.1} s later; {} acknowledged, {} violations{}",
            self.away.as_secs_f64(),
            self.whole.as_secs_f64(),
            self.acknowledged,
            self.violations,
            if self.with_store_leader {
                "; etcd's leader was there"
            } else {
                ""
            }
        )
    }
}

impl Measured {
    /// One round; with `store_leader`, etcd's leader is moved to the primary's host before.
    pub(super) fn round(&self, fault: Fault, store_leader: bool) -> Result<Outcome, String> {
        let herd = &self.herd;
        herd.become_whole(AWAY_MAX)
            .map_err(|why| format!("the herd is not whole: {why}"))?;
        if !poll_until(AWAY_MAX, || self.may_fail_over()) {
            return Err("no standby may take over".to_owned());
        }
        let primary = herd.primary();
        let (workload, recorder) = client::begin(herd)?;

        if store_leader && !herd.etcd().make_leader(primary.host()) {
            return Err("etcd's leader can't be moved".to_owned());
        }
        let leader = herd.etcd().leader();
        let with_store_leader = leader.is_some_and(|leader| leader.name() == primary.name());
        let at = recorder.now();
        let lost = self.inflict(fault, primary)?;
        let back = |history: &History| first_after(history, fault, primary.name(), at);
        if !poll_until(AWAY_MAX, || {
            recorder.look(|history| back(history).is_some())
        }) {
            return Err(format!(
                "no write is acknowledged {AWAY_MAX:?} after the fault\n{}",
                herd.last_words()
            ));
        }
        client::wrote_since(&recorder, at)?;
        workload.stop();
        if let Some(partition) = lost {
            partition.heal();
            if fault == Fault::Power {
                herd.etcd().restart(primary.host());
                primary.start_agent();
            }
        }
        let whole = herd.become_whole(AWAY_MAX).map_err(|why| {
            format!(
                "the herd did not become whole again: {why}\n{}",
                herd.last_words()
            )
        })?;
        let history = recorder.history();
        let violations = history.violations(&herd.end()?);
        for violation in &violations {
            eprintln!("  {violation}");
        }
        Ok(Outcome {
            away: back(&history).expect("it was seen"),
            whole,
            violations: violations.len(),
            acknowledged: history.acknowledged().count(),
            with_store_leader,
        })
    }

    /// A partition where the primary's host is lost.
    fn inflict(&self, fault: Fault, primary: &HerdNode) -> Result<Option<Partition>, String> {
        match fault {
            Fault::Postmaster => {
                primary.kill_postmaster();
                Ok(None)
            }
            Fault::Power => {
                let partition = Partition::isolating(primary.host());
                primary.host().crash();
                Ok(Some(partition))
            }
            Fault::Silence => Ok(Some(Partition::isolating(primary.host()))),
            Fault::Switchover => {
                let standbys = self.herd.standbys();
                let to = standbys
                    .iter()
                    .find(|node| is_synchronous(primary, node))
                    .ok_or("no synchronous standby to switch to")?;
                let output = self
                    .switchover(primary, to)
                    .output()
                    .map_err(|error| format!("the switchover can't be run: {error}"))?;
                if !output.status.success() {
                    return Err(format!(
                        "the switchover failed: {}{}\n{}",
                        String::from_utf8_lossy(&output.stdout),
                        String::from_utf8_lossy(&output.stderr),
                        self.herd.last_words()
                    ));
                }
                Ok(None)
            }
        }
    }
}

/// Whether commits on `primary` wait for that node.
fn is_synchronous(primary: &HerdNode, node: &HerdNode) -> bool {
    let state = primary.try_sql(&format!(
        "SELECT sync_state IN ('sync', 'quorum') FROM pg_stat_replication
         WHERE application_name = '{}'",
        node.name()
    ));
    state.as_deref() == Ok("t")
}

/// How long writes were away, once one is acknowledged again.
fn first_after(history: &History, fault: Fault, primary: &str, at: Duration) -> Option<Duration> {
    match fault {
        // A session that was open before is no proof of anything.
        Fault::Postmaster | Fault::Power | Fault::Silence => {
            let mut later = history.acknowledged().filter(|write| write.opened >= at);
            later.next().map(|write| write.ended - at)
        }
        Fault::Switchover => {
            let mut by_another = history.acknowledged().filter(|write| write.node != primary);
            let first = by_another.next()?;
            let last = history
                .acknowledged()
                .filter(|write| write.node == primary && write.ended <= first.ended)
                .map(|write| write.ended)
                .max()?;
            Some(first.ended - last)
        }
    }
}
