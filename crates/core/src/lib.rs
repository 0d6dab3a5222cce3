//! The decisions of a herd: who leads, who follows, what a commit waits for. No IO.
//!
//! The core is driven. It is given facts and the time, and returns actions with their reasons:
//! no clock, no randomness, no hash order in it. What it promises, and why that is enough, stands
//! in `docs/design/protection.md`.
//!
//! [`node::Node`] is the whole of it; [`rules::RULES`] is what it goes by.

pub mod action;
mod adopt;
pub mod attainable;
pub mod choice;
pub mod duty;
mod explain;
pub mod guards;
pub mod history;
pub mod input;
mod lane;
pub mod lease;
pub mod loss;
pub mod message;
pub mod node;
pub mod obstacle;
pub mod policy;
pub mod position;
pub mod reason;
pub mod record;
pub mod recover;
#[cfg(feature = "mutation")]
mod recurrence;
pub mod rules;
pub mod server;
pub mod standing;
pub mod states;
mod take;
pub mod timer;
mod timers;
