//! The decisions of a herd: who leads, who follows, what a commit waits for. No IO.
//!
//! The core is driven. It is given facts and the time, and returns actions with their reasons:
//! no clock, no randomness, no hash order in it. What it promises, and why that is enough, stands
//! in `docs/design/protection.md`.

pub mod action;
pub mod input;
pub mod lease;
pub mod message;
pub mod policy;
pub mod position;
pub mod record;
pub mod server;
pub mod timer;
