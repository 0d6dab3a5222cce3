//! Long lives of a herd: the shipped core in simulated time, with faults by a seed.

mod afflict;
mod dice;
mod events;
mod fault;
mod happening;
mod life;
mod machine;
mod misfortune;
mod progress;
mod queue;
mod recovery;
mod rest;
mod trial;

pub use self::events::Simulation;
pub use self::fault::Fault;
pub use self::happening::{Counts, Happening};
pub use self::life::{Failure, Life, Outcome, Wrong, live};
pub use self::trial::Trial;
