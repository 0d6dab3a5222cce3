//! A herd's life by a seed: faults, and whether the herd becomes whole after each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use manada_core::input::Command;

use super::dice::Dice;
use super::events::Simulation;
use super::fault::Fault;
use crate::model::Bounds;
use crate::world::{Herd, HostId, Violation, World};

/// How long a herd may take to become whole after the last of the faults has ended.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);

/// How many entries of WAL an asynchronous herd may give up by itself.
const LOSS_MAX: u64 = 3;

/// How long between two looks whether it is whole.
const WHOLE_EVERY: Duration = Duration::from_millis(250);

/// A herd's life.
#[derive(Clone, Debug)]
pub struct Life {
    /// What decides everything.
    pub seed: u64,
    /// How long it lasts.
    pub lasts: Duration,
    /// Who they are.
    pub herd: Arc<Herd>,
    /// What they begin with.
    pub bounds: Bounds,
    /// Whether a failure tells what happened.
    pub journal: bool,
}

/// What a life was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How long it was.
    pub lived: Duration,
    /// What happened in it.
    pub events: u64,
    /// What went wrong.
    pub faults: u64,
    /// Who led.
    pub reigns: u64,
    /// Clients' writes.
    pub writes: u64,
    /// The longest time until the herd was whole again.
    pub slowest: Duration,
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
        let mut dice = Dice::new(seed ^ 0xA11CE);
        let shapes = [
            (2, 0, 1),
            (3, 0, 1),
            (3, 0, 2),
            (2, 1, 1),
            (4, 0, 2),
            (5, 0, 2),
        ];
        let (servers, witnesses, count) = shapes[dice.below(shapes.len())];
        let mut life = Life::of(servers, witnesses, count, seed);
        life.lasts = lasts;
        if dice.once_in(3) {
            life.bounds.when_short = manada_core::record::WhenShort::Degrade;
        }
        life
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
            bounds: Bounds {
                count,
                ..Bounds::smallest()
            },
            journal: false,
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
        let record = self.bounds.record(&self.herd);
        let begins = manada_core::timer::Moment(Duration::from_secs(1));
        let world = World::whole(self.herd.clone(), record, begins);
        Simulation::new(world, self.seed)
    }
}

/// Lives it.
///
/// # Errors
/// An invariant that broke, or a herd that stayed broken after its faults had ended.
pub fn live(life: &Life) -> Result<Outcome, Box<Failure>> {
    let mut simulation = life.simulation();
    simulation.journal = life.journal.then(Vec::new);
    let mut dice = Dice::new(life.seed);
    let mut outcome = Outcome::default();
    while simulation.now < life.lasts {
        if let Some(journal) = &mut simulation.journal {
            journal.clear();
        }
        let quiet = dice.millis(200, 60_000);
        let begins = simulation.now + quiet;
        simulation.run_until(begins);
        let faults = misfortune(&mut dice, &life.herd);
        outcome.faults += u64::try_from(faults.len()).unwrap_or(0);
        let begun = simulation.now;
        simulation.endure(&faults);
        let ended = simulation.now;
        if let Some(what) = recovers(&mut simulation) {
            return Err(Box::new(Failure {
                seed: life.seed,
                at: simulation.now,
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
    outcome.lived = simulation.now;
    outcome.events = simulation.events;
    outcome.reigns = simulation.world.store.record.value.epoch.0;
    outcome.writes = u64::try_from(simulation.world.ledger.writes.len()).unwrap_or(u64::MAX);
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
    }
}

/// One to three faults that overlap.
fn misfortune(dice: &mut Dice, herd: &Herd) -> Vec<(Duration, Fault)> {
    let hosts: Vec<HostId> = herd.hosts().collect();
    let count = 1 + dice.below(3);
    let mut faults = Vec::new();
    for _ in 0..count {
        let after = dice.millis(0, 4000);
        faults.push((after, any_fault(dice, &hosts)));
    }
    faults
}

fn any_fault(dice: &mut Dice, hosts: &[HostId]) -> Fault {
    let host = hosts[dice.below(hosts.len())];
    let other = hosts[dice.below(hosts.len())];
    let lasts = dice.millis(100, 12_000);
    match dice.below(16) {
        0 | 1 => Fault::KillServer(host),
        2 => Fault::KillAgent(host),
        3 | 4 => Fault::PowerLoss(host, lasts),
        5 => Fault::Stall(host, lasts),
        6 => Fault::PauseAgent(host, lasts),
        7 => Fault::ClockStands(host, lasts),
        8 | 9 => Fault::Isolate(host, lasts),
        10 => Fault::OneWay(host, other, lasts),
        11 => Fault::StoreLoss(lasts),
        12 => Fault::StoreUnreachable(host, lasts),
        13 => Fault::StoreDoubtful(lasts),
        14 => Fault::OrdersFail(host, lasts),
        _ => match dice.below(4) {
            0 => Fault::Command(
                host,
                Command::Failover {
                    to: None,
                    allow_loss: None,
                },
            ),
            1 => Fault::Cancel(host),
            _ => Fault::Command(host, Command::Switchover { to: None }),
        },
    }
}
