//! The run: faults one after the other, while clients write.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::evidence;
use super::fault::{Kind, inflict};
use super::plan::{Plan, Role, Strike};
use crate::checker::{End, Recorder, Reign, Violation};
use crate::herd::{HerdNode, NotWhole, ProtectedHerd};
use crate::programs::{Missing, Programs};
use crate::workload::{Manners, Site, Workload};

/// How long a herd may take to become whole after a fault is over.
const WHOLE_MAX: Duration = Duration::from_secs(30);

/// How long a whole herd goes on before the next fault: clients write meanwhile.
const CALM: Duration = Duration::from_millis(500);

const NAMES: [&str; 3] = ["db1", "db2", "db3"];

const MANNERS: Manners = Manners {
    connect_max: Duration::from_millis(1000),
    statement_max: Duration::from_secs(2),
    pause: Duration::from_millis(15),
    retry_pause: Duration::from_millis(50),
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

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// How often each fault happened.
    pub faults: BTreeMap<Kind, u32>,
    /// How many writes were acknowledged.
    pub acknowledged: usize,
    /// How many reads were answered.
    pub reads: usize,
    /// How many reigns there were.
    pub reigns: usize,
    /// The longest time until the herd was whole.
    pub whole_max: Duration,
    /// What was not as it must be.
    pub broken: Vec<Broken>,
    /// Where the evidence is.
    pub kept: Option<PathBuf>,
}

/// What must not be.
#[derive(Clone, Debug)]
pub enum Broken {
    /// The checker found it.
    Promise(Violation),
    /// The herd did not become whole.
    NotWhole(NotWhole),
    /// A stall that must not cause a failover did.
    FailedOver(Kind),
    /// The end could not be looked at.
    NoEnd(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Promise(violation) => violation.fmt(f),
            Broken::NotWhole(why) => write!(f, "not whole after {WHOLE_MAX:?}: {why}"),
            Broken::FailedOver(kind) => write!(f, "{kind:?} caused a failover"),
            Broken::NoEnd(why) => write!(f, "the end can't be looked at: {why}"),
        }
    }
}

/// A run under way.
struct Run<'a> {
    chaos: &'a Chaos<'a>,
    herd: ProtectedHerd,
    reigns: BTreeMap<u64, String>,
    faults: BTreeMap<Kind, u32>,
    whole_max: Duration,
    broken: Vec<Broken>,
}

impl Chaos<'_> {
    /// Makes it. Ends early when something is broken.
    ///
    /// # Panics
    /// When the herd does not even come up.
    pub fn run(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Verdict, Missing> {
        let herd = ProtectedHerd::start_to_fail(self.manada, self.programs, &NAMES)?;
        herd.prepare_for_clients();
        let recorder = Arc::new(Recorder::new());
        let workload = Workload::start(sites(&herd), MANNERS, &recorder);
        let mut run = Run {
            chaos: self,
            herd,
            reigns: BTreeMap::new(),
            faults: BTreeMap::new(),
            whole_max: Duration::ZERO,
            broken: Vec::new(),
        };
        run.strike_on(tell)?;
        workload.stop();
        let history = recorder.history();
        match run.end() {
            Ok(end) => {
                let violations = history.violations(&end);
                run.broken
                    .extend(violations.into_iter().map(Broken::Promise));
            }
            Err(why) => run.broken.push(Broken::NoEnd(why)),
        }
        let kept = if run.broken.is_empty() {
            None
        } else {
            evidence::keep(&run.herd, &history, self.keep_in, self.seed).ok()
        };
        Ok(Verdict {
            faults: run.faults,
            acknowledged: history.acknowledged().count(),
            reads: history.reads.len(),
            reigns: run.reigns.len(),
            whole_max: run.whole_max,
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
        writers: 3,
        readers: 2,
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
    fn strike_on(&mut self, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), Missing> {
        let mut plan = Plan::new(self.chaos.seed, self.chaos.kinds, NAMES.len());
        let began = Instant::now();
        let mut number = 0;
        let mut epoch = self.note_reigns();
        while began.elapsed() < self.chaos.limit {
            sleep(CALM);
            let strike = plan.next();
            number += 1;
            let Some((node, other)) = self.who(&strike) else {
                // It was whole a moment ago, and nothing was done to it.
                self.broken
                    .push(Broken::NotWhole(NotWhole::Primaries(Vec::new())));
                return Ok(());
            };
            tell(Event::Struck {
                number,
                strike: &strike,
                node: node.name(),
            });
            let suffered = inflict(strike.kind, &self.herd, node, other)?;
            sleep(strike.lasts);
            suffered.end(&self.herd, node);
            *self.faults.entry(strike.kind).or_default() += 1;
            let after = match self.herd.become_whole(WHOLE_MAX) {
                Ok(after) => after,
                Err(why) => {
                    self.broken.push(Broken::NotWhole(why));
                    return Ok(());
                }
            };
            self.whole_max = self.whole_max.max(after);
            let before = epoch;
            epoch = self.note_reigns();
            if strike.kind.is_stall() && epoch != before {
                self.broken.push(Broken::FailedOver(strike.kind));
                return Ok(());
            }
            let primaries = self.herd.primaries();
            tell(Event::Whole {
                after,
                primary: primaries.first().map_or("nobody", |node| node.name()),
                epoch,
            });
        }
        Ok(())
    }

    /// Who is struck, and the other one where it takes two.
    fn who(&self, strike: &Strike) -> Option<(&HerdNode, &HerdNode)> {
        let nodes = self.herd.nodes();
        let primaries = self.herd.primaries();
        let primary = primaries.first()?.name();
        let at = nodes.iter().position(|node| node.name() == primary)?;
        let struck = match strike.whom {
            Role::Primary => at,
            Role::Standby(standby) => (at + 1 + standby) % nodes.len(),
        };
        let other = (struck + strike.other) % nodes.len();
        Some((&nodes[struck], &nodes[other]))
    }

    /// Notes who has led; the servers remember the last reigns only. The highest epoch.
    fn note_reigns(&mut self) -> u64 {
        for reign in self.herd.reigns() {
            self.reigns.insert(reign.epoch, reign.leader);
        }
        self.reigns.keys().last().copied().unwrap_or_default()
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
