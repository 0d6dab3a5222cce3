//! Random faults from a seed, on a herd that clients write to: after each one the herd must become
//! whole by itself, and in the end the checker must find nothing.

mod dice;
mod evidence;
mod fault;
mod kind;
mod plan;
mod run;
mod verdict;

pub use kind::Kind;
pub use plan::Strike;
pub use run::{Chaos, Event};
pub use verdict::{Broken, Count, Verdict};
