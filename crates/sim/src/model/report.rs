//! What was found, and in how many states.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manada_core::node::Limits;
use manada_core::timer::Timings;
use stateright::{Checker, Expectation, Model, UniformChooser};

use super::{Bounds, Goal, HerdModel, Step};
use crate::world::Herd;

/// What a check has come to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many states are different.
    pub states: usize,
    /// How many were generated.
    pub generated: usize,
    /// The longest path.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether every state within the bounds was seen.
    pub complete: bool,
    /// What was found of each property: the way there, if there is one.
    pub properties: Vec<Finding>,
}

/// One property.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which.
    pub name: &'static str,
    /// It must always hold; else it must be reachable.
    pub always: bool,
    /// The way to where it does not hold, or to where it does.
    pub path: Option<Vec<Step>>,
}

impl Finding {
    /// Whether the property is broken: violated, or not reached.
    pub fn is_broken(&self) -> bool {
        self.always == self.path.is_some()
    }
}

impl Report {
    /// Visits every state within the bounds, in so much time.
    pub fn exhaustive(model: HerdModel, within: Duration) -> Report {
        let began = Instant::now();
        let properties = model.properties();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let checker = model
            .checker()
            .threads(threads)
            .timeout(within)
            .finish_when(stateright::HasDiscoveries::AnyFailures)
            .spawn_dfs()
            .join();
        Report::of(&checker, properties, began, within)
    }

    /// Walks at random.
    pub fn walk(model: HerdModel, seed: u64, within: Duration) -> Report {
        let began = Instant::now();
        let properties = model.properties();
        let checker = model
            .checker()
            .timeout(within)
            .finish_when(stateright::HasDiscoveries::AnyFailures)
            .spawn_simulation(seed, UniformChooser)
            .join();
        Report::of(&checker, properties, began, within)
    }

    fn of(
        checker: &impl Checker<HerdModel>,
        properties: Vec<stateright::Property<HerdModel>>,
        began: Instant,
        within: Duration,
    ) -> Report {
        let mut found = checker.discoveries();
        let properties = properties.into_iter().map(|property| Finding {
            name: property.name,
            always: property.expectation == Expectation::Always,
            path: found.remove(property.name).map(|path| path.into_actions()),
        });
        Report {
            properties: properties.collect(),
            states: checker.unique_state_count(),
            generated: checker.state_count(),
            depth: checker.max_depth(),
            took: began.elapsed(),
            complete: began.elapsed() < within,
        }
    }

    /// The properties that don't hold.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.properties.iter().filter(|finding| finding.is_broken())
    }
}

impl HerdModel {
    /// A herd of so many servers and witnesses, to which so much may happen.
    pub fn new(servers: u16, witnesses: u16, bounds: Bounds, goals: Vec<Goal>) -> HerdModel {
        let mut timings = Timings::default();
        if bounds.beats > 0 {
            // Nothing may rest on the leader's margin.
            timings.beat = Duration::ZERO;
        }
        let limits = Limits {
            timings,
            loss_bytes_max: bounds.loss_bytes_max,
        };
        HerdModel {
            herd: Arc::new(Herd::new(servers, witnesses, limits)),
            bounds,
            goals,
            only_harm: false,
        }
    }
}

impl HerdModel {
    /// The same with cores that are without that guard.
    #[must_use]
    pub fn without(mut self, guard: manada_core::guards::Guard) -> HerdModel {
        Arc::make_mut(&mut self.herd).left_out = Some(guard);
        self
    }

    /// The same, but what is only a step towards harm is let pass, to see the harm.
    #[must_use]
    pub fn judging_harm(mut self) -> HerdModel {
        self.only_harm = true;
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} states, {} generated, depth {}, {:.1?}{}",
            self.states,
            self.generated,
            self.depth,
            self.took,
            if self.complete { "" } else { ", not all" }
        )?;
        for finding in &self.properties {
            let word = match (finding.always, &finding.path) {
                (true, None) => "holds",
                (true, Some(_)) => "BROKEN",
                (false, None) => "NOT REACHED",
                (false, Some(_)) => "reached",
            };
            writeln!(f, "{word:>12}  {}", finding.name)?;
            if finding.always {
                for step in finding.path.iter().flatten() {
                    writeln!(f, "              {step:?}")?;
                }
            }
        }
        Ok(())
    }
}
