//! What the core decides and what holds it up, in sentences: for the log, and for operators' commands.

mod obstacle;
mod order;
mod reason;
mod standing;
mod start;
#[cfg(test)]
mod texts;

pub(crate) use obstacle::place;
pub use obstacle::{loss, names, remedy, sentence as obstacle};
pub use order::{command, is_routine, sentence as order};
pub use reason::sentence as reason;
pub use standing::{policy, sentence as standing};
