//! The run: faults one after the other, while clients write.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::evidence;
use super::fault::{Suffered, inflict};
use super::kind::Kind;
use super::plan::{Plan, Role, Strike};
use super::verdict::{Broken, Count, Verdict, WHOLE_MAX};
use crate::checker::{End, History, Recorder, Reign};
use crate::herd::{NotWhole, ProtectedHerd, Shape};
use crate::programs::{Missing, Programs};
use crate::workload::{Manners, Site, Workload};

/// How long a whole herd goes on before the next fault: clients write meanwhile.
const CALM: Duration = Duration::from_millis(300);

const MANNERS: Manners = Manners {
    connect_max: Duration::from_millis(1000),
    statement_max: Duration::from_secs(2),
    pause: Duration::from_millis(50),
    retry_pause: Duration::from_millis(200),
};

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Chaos<'a> {
    /// The program.
    pub manada: &'a Path,
    /// The server's programs.
    pub programs: &'a Programs,
    /// What decides about the faults.
    pub seed: u64,
    /// What the herd is like.
    pub shape: Shape,
    /// Whether a fault may begin while another lasts, or while the herd is not whole after it.
    pub overlap: bool,
    /// No fault begins later than this after the first.
    pub limit: Duration,
    /// Which faults there are.
    pub kinds: &'a [Kind],
    /// Where the evidence is kept when a promise was broken.
    pub keep_in: &'a Path,
}

/// What is told while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A fault begins.
    Struck {
        /// Which one it is, from 1.
        number: u32,
        /// What it is.
        strike: &'a Strike,
        /// On which node.
        node: &'a str,
    },
    /// The herd is whole, so long after the fault's end.
    Whole {
        /// How long.
        after: Duration,
        /// Who leads.
        primary: &'a str,
        /// In which reign.
        epoch: u64,
    },
}

/// A run under way.
struct Run<'a> {
    chaos: &'a Chaos<'a>,
    herd: ProtectedHerd,
    reigns: BTreeMap<u64, String>,
    faults: BTreeMap<Kind, Count>,
    whole: Vec<Duration>,
    broken: Vec<Broken>,
}

/// A fault that lasts.
struct Lasting {
    kind: Kind,
    /// Which of the herd's nodes has it.
    node: usize,
    suffered: Suffered,
    /// When it is looked at whether it bites.
    looked_at: Instant,
    ends: Instant,
}

impl Chaos<'_> {
    /// Makes it. Ends early when something is broken.
    ///
    /// # Panics
    /// When the herd does not even come up.
    pub fn run(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Verdict, Missing> {
        let herd = ProtectedHerd::start_to_fail(self.manada, self.programs, self.shape)?;
        herd.prepare_for_clients();
        let recorder = Arc::new(Recorder::new());
        let workload = Workload::start(sites(&herd), MANNERS, &recorder);
        let mut run = Run {
            chaos: self,
            herd,
            reigns: BTreeMap::new(),
            faults: BTreeMap::new(),
            whole: Vec::new(),
            broken: Vec::new(),
        };
        if let Err(broken) = run.strike_on(tell)? {
            run.broken.push(broken);
        }
        workload.stop();
        let history = recorder.history();
        let lost_and_said = run.judge(&history);
        let kept = if run.broken.is_empty() {
            None
        } else {
            evidence::keep(&run.herd, &history, self.keep_in, self.seed).ok()
        };
        run.whole.sort();
        Ok(Verdict {
            faults: run.faults,
            acknowledged: history.acknowledged().count(),
            lost_and_said,
            reads: history.reads.len(),
            reigns: run.reigns.len(),
            whole: run.whole,
            broken: run.broken,
            kept,
        })
    }
}

/// Roaming clients on a host of their own, and on each node's host one that is settled on it: that
/// is who still reaches a primary which nobody else does.
fn sites(herd: &ProtectedHerd) -> Vec<Site> {
    let roaming = Site {
        host: herd.client().clone(),
        servers: herd.servers(),
        writers: 2,
        readers: 1,
        settled: true,
    };
    let at_home = herd.nodes().iter().map(|node| Site {
        host: node.host().clone(),
        servers: vec![node.server()],
        writers: 0,
        readers: 0,
        settled: true,
    });
    std::iter::once(roaming).chain(at_home).collect()
}

impl Run<'_> {
    /// Until the time is over or something is broken.
    fn strike_on(
        &mut self,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Result<(), Broken>, Missing> {
        let shape = self.chaos.shape;
        let kinds = self.chaos.kinds.iter().copied();
        let kinds = kinds.filter(|kind| kind.suits(shape)).collect();
        let mut plan = Plan::new(self.chaos.seed, kinds, shape.nodes());
        let began = Instant::now();
        let mut number = 0;
        let mut epoch = self.note_reigns();
        while began.elapsed() < self.chaos.limit {
            sleep(CALM);
            let strike = plan.next();
            let Some(node) = self.struck(&strike) else {
                // It was whole a moment ago, and nothing was done to it.
                return Ok(Err(Broken::NotWhole(NotWhole::Primaries(Vec::new()))));
            };
            let joined = match self.chaos.overlap {
                true => plan.joined_to(strike.kind),
                false => None,
            };
            number += 1;
            let first = self.strike(&strike, node, number, tell)?;
            let second = match &joined {
                Some((after, other)) => {
                    number += 1;
                    sleep(*after);
                    // Another node than the first one's.
                    let node = (node + other.other) % shape.nodes();
                    Some(self.strike(other, node, number, tell)?)
                }
                None => None,
            };
            let may_fail_over =
                !strike.kind.is_stall() || second.is_some() || shape == Shape::Asynchronous;
            self.end_all(Vec::from_iter([Some(first), second].into_iter().flatten()));
            let after = match self.herd.become_whole(WHOLE_MAX) {
                Ok(after) => after,
                Err(why) => return Ok(Err(Broken::NotWhole(why))),
            };
            self.whole.push(after);
            let before = epoch;
            epoch = self.note_reigns();
            if !may_fail_over && epoch != before {
                return Ok(Err(Broken::FailedOver(strike.kind)));
            }
            let primaries = self.herd.primaries();
            tell(Event::Whole {
                after,
                primary: primaries.first().map_or("nobody", |node| node.name()),
                epoch,
            });
            if let Some(primary) = primaries.first() {
                // As WAL goes on in a longer life: a rewind copies all that the leader has kept,
                // and without this that would be a segment of every reign.
                primary.try_sql("SELECT pg_switch_wal()").ok();
            }
        }
        Ok(Ok(()))
    }

    fn strike(
        &self,
        strike: &Strike,
        node: usize,
        number: u32,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Lasting, Missing> {
        let nodes = self.herd.nodes();
        let other = (node + strike.other) % nodes.len();
        tell(Event::Struck {
            number,
            strike,
            node: nodes[node].name(),
        });
        let (struck, other) = (&nodes[node], &nodes[other]);
        let suffered = inflict(strike.kind, &self.herd, self.chaos.shape, struck, other)?;
        let now = Instant::now();
        Ok(Lasting {
            kind: strike.kind,
            node,
            suffered,
            // Looking takes its time, which a stall has not: it would be a longer one.
            looked_at: match strike.kind.is_stall() {
                true => now + strike.lasts / 2,
                false => now + strike.lasts,
            },
            ends: now + strike.lasts,
        })
    }

    /// Waits until they end, each at its time, and counts them.
    fn end_all(&mut self, mut lasting: Vec<Lasting>) {
        lasting.sort_by_key(|fault| fault.ends);
        let mut left = lasting.into_iter();
        while let Some(fault) = left.next() {
            let node = &self.herd.nodes()[fault.node];
            sleep_until(fault.looked_at);
            let bit = fault.suffered.has_bitten(&self.herd, node);
            sleep_until(fault.ends);
            fault.suffered.end(&self.herd, node);
            // As systemd does, where there is still a host.
            let gone: Vec<usize> = left.as_slice().iter().map(|other| other.node).collect();
            for (place, node) in self.herd.nodes().iter().enumerate() {
                if !gone.contains(&place) {
                    node.start_agent();
                }
            }
            let count = self.faults.entry(fault.kind).or_default();
            count.struck += 1;
            count.bit += u32::from(bit);
        }
    }

    /// Which node is struck; `None` without a primary.
    fn struck(&self, strike: &Strike) -> Option<usize> {
        let nodes = self.herd.nodes();
        let primaries = self.herd.primaries();
        let primary = primaries.first()?.name();
        let at = nodes.iter().position(|node| node.name() == primary)?;
        Some(match strike.whom {
            Role::Primary => at,
            Role::Standby(standby) => (at + 1 + standby) % nodes.len(),
        })
    }

    /// Notes who has led; the servers remember the last reigns only. The highest epoch.
    fn note_reigns(&mut self) -> u64 {
        for reign in self.herd.reigns() {
            self.reigns.insert(reign.epoch, reign.leader);
        }
        self.reigns.keys().last().copied().unwrap_or_default()
    }

    /// Holds what clients were told against what is there. How many acknowledged writes are lost
    /// where that is allowed.
    fn judge(&mut self, history: &History) -> usize {
        let end = match self.end() {
            Ok(end) => end,
            Err(why) => {
                self.broken.push(Broken::NoEnd(why));
                return 0;
            }
        };
        let mut violations = history.violations(&end);
        let mut lost = 0;
        if self.chaos.shape.may_lose() {
            lost = history.lost(&end).len();
            violations.retain(|violation| !violation.follows_from_a_loss(&end));
            let said = self.herd.commits_saved();
            if u64::try_from(lost).unwrap_or(u64::MAX) > said {
                self.broken.push(Broken::LossNotSaid { lost, said });
            }
        }
        self.broken
            .extend(violations.into_iter().map(Broken::Promise));
        lost
    }

    /// What is there when all is over.
    fn end(&mut self) -> Result<End, String> {
        self.herd
            .become_whole(WHOLE_MAX)
            .map_err(|why| why.to_string())?;
        self.note_reigns();
        let reigns = self.reigns.iter().map(|(epoch, leader)| Reign {
            epoch: *epoch,
            leader: leader.clone(),
        });
        Ok(End {
            reigns: reigns.collect(),
            ..self.herd.end()?
        })
    }
}

fn sleep_until(moment: Instant) {
    sleep(moment.saturating_duration_since(Instant::now()));
}
