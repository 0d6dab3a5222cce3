//! A herd's life by a seed: faults, and whether the herd becomes whole after each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use manada_core::attainable::attainable;
use manada_core::input::Command;
use manada_core::policy::Policy;
use manada_core::record::{Desired, Mode, Record, WhenShort};
use manada_model::SyncMethod;

use super::dice::Dice;
use super::events::Simulation;
use super::fault::Fault;
use super::happening::{Counts, Happening};
use super::misfortune;
use crate::model::Bounds;
use crate::world::{Herd, HostId, Violation, World};

/// How long a herd may take to become whole after the last of the faults has ended.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// How many entries of WAL an asynchronous herd may give up by itself.
const LOSS_MAX: u64 = 3;

/// How long between two looks whether it is whole.
const WHOLE_EVERY: Duration = Duration::from_millis(250);

/// The longest peace between a herd that is whole and the next faults, in milliseconds.
const PEACE_MILLIS_MAX: u64 = 90_000;

/// How long clients write before the faults begin, in milliseconds.
const STIR_MILLIS: (u64, u64) = (200, 2_000);

/// A herd's life.
#[derive(Clone, Debug)]
pub struct Life {
    /// What decides everything.
    pub seed: u64,
    /// How long it lasts.
    pub lasts: Duration,
    /// Who they are.
    pub herd: Arc<Herd>,
    /// What their operator wants at first.
    pub desired: Desired,
    /// Whether a failure tells what happened.
    pub journal: bool,
    /// Whether only what harms ends it, not each step that could.
    pub harm_only: bool,
    /// Whether time in which nothing happens is passed over where that makes no difference.
    pub skips: bool,
}

/// What a life was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How long it was.
    pub lived: Duration,
    /// How much of it was passed over.
    pub skipped: Duration,
    /// What happened in the rest.
    pub events: u64,
    /// What went wrong.
    pub faults: u64,
    /// Who led.
    pub reigns: u64,
    /// Clients' writes.
    pub writes: u64,
    /// The longest time until the herd was whole again.
    pub slowest: Duration,
    /// What kinds of things happened.
    pub counts: Counts,
}

impl Outcome {
    /// With another life.
    pub fn merge(&mut self, other: &Outcome) {
        self.lived += other.lived;
        self.skipped += other.skipped;
        self.events += other.events;
        self.faults += other.faults;
        self.reigns += other.reigns;
        self.writes += other.writes;
        self.slowest = self.slowest.max(other.slowest);
        self.counts.merge(&other.counts);
    }
}

/// A life that should not have been so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// By which it can be lived again.
    pub seed: u64,
    /// When.
    pub at: Duration,
    /// What.
    pub what: Wrong,
    /// What went wrong before, as far as it was meant to.
    pub faults: Vec<(Duration, Fault)>,
    /// What happened, if that was asked for: the end of it.
    pub journal: Vec<String>,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An invariant broke.
    Violated(Violation),
    /// The herd did not become whole: what each node says hinders it.
    NotWhole(Vec<String>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: after {:?}: {:?}",
            self.seed, self.at, self.what
        )?;
        for line in &self.journal {
            writeln!(f, "{line}")?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  {at:?} {fault:?}")?;
        }
        Ok(())
    }
}

impl Life {
    /// One of the usual herds.
    pub fn usual(seed: u64, lasts: Duration) -> Life {
        Life {
            lasts,
            ..misfortune::any_herd(seed)
        }
    }

    /// A herd of so many, whose commits wait for `count`; it has yet to live.
    pub fn of(servers: u16, witnesses: u16, count: u32, seed: u64) -> Life {
        let limits = manada_core::node::Limits {
            timings: manada_core::timer::Timings::default(),
            loss_bytes_max: if count == 0 { LOSS_MAX } else { 0 },
        };
        Life {
            seed,
            lasts: Duration::ZERO,
            herd: Arc::new(Herd::new(servers, witnesses, limits)),
            desired: Desired {
                method: SyncMethod::Any,
                count,
                standbys: None,
                when_short: WhenShort::Block,
            },
            journal: false,
            harm_only: false,
            skips: true,
        }
    }

    /// The same with cores that are without that guard.
    #[must_use]
    pub fn without(mut self, guard: manada_core::guards::Guard) -> Life {
        Arc::make_mut(&mut self.herd).left_out = Some(guard);
        self
    }

    /// The herd at its beginning.
    pub fn simulation(&self) -> Simulation {
        let begins = manada_core::timer::Moment(Duration::from_secs(1));
        let mut world = World::whole(self.herd.clone(), self.record(), begins);
        world.ledger.make_mut().only_harm = self.harm_only;
        let mut simulation = Simulation::new(world, self.seed);
        simulation.journal = self.journal.then(Vec::new);
        simulation
    }

    fn record(&self) -> Record {
        let mut record = Bounds::smallest().record(&self.herd);
        record.desired = self.desired.clone();
        let leader = self.herd.name(HostId(0));
        let policy = attainable(&record, leader, |_| true).unwrap_or_else(Policy::asynchronous);
        record.policies[0].policy = policy;
        record
    }

    fn count_herd(&self, counts: &mut Counts) {
        counts.add(match (self.desired.count, self.desired.method) {
            (0, _) => Happening::UnderAsynchronous,
            (_, SyncMethod::Any) => Happening::UnderAny,
            (_, SyncMethod::First) => Happening::UnderFirst,
        });
        if self.herd.witnesses() > 0 {
            counts.add(Happening::WithWitness);
        }
        if self.desired.when_short == WhenShort::Degrade {
            counts.add(Happening::Degrading);
        }
    }
}

/// Lives it.
///
/// # Errors
/// An invariant that broke, or a herd that stayed broken after its faults had ended.
pub fn live(life: &Life) -> Result<Outcome, Box<Failure>> {
    let mut simulation = life.simulation();
    let mut dice = Dice::new(life.seed);
    let mut outcome = Outcome::default();
    while simulation.lived() < life.lasts {
        if let Some(journal) = &mut simulation.journal {
            journal.clear();
        }
        simulation.rest(dice.millis(0, PEACE_MILLIS_MAX), life.skips);
        let begins = simulation.now + dice.millis(STIR_MILLIS.0, STIR_MILLIS.1);
        simulation.run_until(begins);
        let faults = misfortune::misfortune(&mut dice, &life.herd);
        outcome.faults += u64::try_from(faults.len()).unwrap_or(0);
        let begun = simulation.lived();
        simulation.endure(&faults);
        let ended = simulation.now;
        if let Some(what) = recovers(&mut simulation) {
            return Err(Box::new(Failure {
                seed: life.seed,
                at: simulation.lived(),
                what,
                faults: faults
                    .into_iter()
                    .map(|(after, fault)| (begun + after, fault))
                    .collect(),
                journal: simulation.journal.unwrap_or_default(),
            }));
        }
        outcome.slowest = outcome.slowest.max(simulation.now - ended);
    }
    outcome.lived = simulation.lived();
    outcome.skipped = simulation.skipped;
    outcome.events = simulation.events;
    outcome.reigns = simulation.world.store.record.value.epoch.0;
    outcome.writes = u64::try_from(simulation.world.ledger.writes.len()).unwrap_or(u64::MAX);
    outcome.counts = simulation.counts;
    life.count_herd(&mut outcome.counts);
    Ok(outcome)
}

/// Waits until the herd is whole; what is wrong if it does not come to that.
fn recovers(simulation: &mut Simulation) -> Option<Wrong> {
    let give_up = simulation.now + WHOLE_WITHIN;
    loop {
        if let Some(violation) = &simulation.world.ledger.violation {
            return Some(Wrong::Violated(violation.clone()));
        }
        if simulation.is_whole() {
            return None;
        }
        if simulation.now >= give_up {
            let world = &simulation.world;
            let hosts = world.herd.hosts();
            let says = hosts.filter_map(|host| {
                let core = &world.agent(host)?.core;
                Some(format!(
                    "{host:?}: {:?}: {:?}: {:?}",
                    core.standing(),
                    core.obstacles(),
                    world.facts(host)
                ))
            });
            let record = format!("{:?}", world.store.record);
            return Some(Wrong::NotWhole(says.chain([record]).collect()));
        }
        let next = simulation.now + WHOLE_EVERY;
        simulation.run_until(next);
        // Nodes may have been silent when the operator tried first.
        simulation.recover();
        resume(simulation);
    }
}

/// A herd that is paused still was told to resume by an agent that has died since: the operator,
/// who sees it in the status, says it again.
fn resume(simulation: &mut Simulation) {
    if simulation.world.store.record.value.mode == Mode::Paused
        && let Some(host) = simulation.world.herd.hosts().next()
    {
        simulation.command(host, Command::Resume);
    }
}
