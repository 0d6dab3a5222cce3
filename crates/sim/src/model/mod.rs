//! Every order of events within bounds: the shipped core, in small herds, under `stateright`.

mod bounds;
mod cases;
mod properties;
mod report;
mod settle;
mod step;

use std::sync::Arc;

use manada_core::timer::Moment;
use stateright::{Model, Property};

pub use self::bounds::{Bounds, Late, Spent};
pub use self::cases::{Case, Shape, Size};
pub use self::properties::Goal;
pub use self::report::{Finding, Report};
pub use self::step::Step;
use crate::world::{Herd, World};

/// The moment at which everything happens: the core decides by timers that have fired, and any that
/// runs may fire at any time.
const NOW: Moment = Moment(std::time::Duration::ZERO);

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

impl Model for HerdModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let record = self.bounds.record(&self.herd);
        let mut state = State {
            world: World::whole(self.herd.clone(), record, NOW),
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
