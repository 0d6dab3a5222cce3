//! Random faults from a seed, on a herd that clients write to: after each one the herd must become
//! whole by itself, and in the end the checker must find nothing.

mod dice;
mod evidence;
mod fault;
mod plan;
mod run;

pub use fault::Kind;
pub use plan::Strike;
pub use run::{Broken, Chaos, Event, Verdict};
