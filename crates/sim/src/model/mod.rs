//! Every order of events within bounds: the shipped core, in small herds, under `stateright`.

mod bounds;
mod cases;
mod properties;
mod report;
mod settle;
mod step;

use std::sync::Arc;
use std::time::Duration;

use manada_core::timer::Moment;
use stateright::{Model, Property};

pub use self::bounds::{Bounds, Late, Spent};
pub use self::cases::{Case, Shape, Size};
pub use self::properties::Goal;
pub use self::report::{Finding, Report};
pub use self::step::Step;
use crate::world::{Herd, World};

/// The moment at which everything begins.
const BEGINNING: Moment = Moment(Duration::ZERO);

/// How much later it is with each sign of life that is counted: any time would do.
const BEAT: Duration = Duration::from_nanos(1);

/// A herd, and how much may happen to it.
#[derive(Clone, Debug)]
pub struct HerdModel {
    /// Who they are.
    pub herd: Arc<Herd>,
    /// How much may happen.
    pub bounds: Bounds,
    /// What has to be reachable.
    pub goals: Vec<Goal>,
    /// What is only a step towards harm is let pass, to see the harm.
    pub only_harm: bool,
}

/// A state: the world, and what of the bounds is used up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Everything.
    pub world: World,
    /// What has happened.
    pub spent: Spent,
}

impl HerdModel {
    /// The moment. The core decides by timers that have fired, and any that runs may fire at any
    /// time, so that it might be the same one always. Where signs of life are counted it says how
    /// many the store has seen: of two moments with one between them it is known which was first.
    fn now(&self, world: &World) -> Moment {
        let seen = match &world.store.lease {
            Some(lease) if self.bounds.beats > 0 => lease.beat + 1,
            Some(_) | None => 0,
        };
        BEGINNING + BEAT * u32::try_from(seen).unwrap_or(u32::MAX)
    }
}

impl Model for HerdModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let record = self.bounds.record(&self.herd);
        let mut state = State {
            world: World::whole(self.herd.clone(), record, BEGINNING),
            spent: Spent::default(),
        };
        state.world.ledger.make_mut().only_harm = self.only_harm;
        self.settle(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.steps(state, steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, &step);
        self.settle(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<HerdModel>> {
        properties::all(&self.goals)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let record = &state.world.store.record;
        record.value.epoch.0 <= self.bounds.epochs && record.revision.0 <= self.bounds.revisions
    }
}
