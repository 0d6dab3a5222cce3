//! Whether a herd kept what it promised: clients log what they asked and what they were told, and
//! the log is held against what is there at the end.
//!
//! Every write is a unique number with its session's sequence. What is promised:
//!
//! - *Durable*: what was acknowledged is in the final state, and in every confirmed read that was
//!   asked for afterwards.
//! - *No phantom*: what was refused, or never written, is nowhere.
//! - *No seen-then-lost*: what any primary has shown stays.
//! - *Sessions never go back*: a session finds all that it was acknowledged before.
//! - *One primary*: once the leader of a reign has acknowledged a write, no leader of an earlier
//!   one acknowledges a write that is asked for later.
//! - *Equal*: in the end all nodes hold the same.

mod history;
mod verdict;

#[cfg(test)]
mod tests;

pub use history::{End, History, Read, Recorder, Reign, Write, WriteOutcome};
pub use verdict::Violation;
