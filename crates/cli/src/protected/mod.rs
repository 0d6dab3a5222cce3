//! A herd that agents protect: the agent of this host, what it sees, and what is wanted of it.

mod agent;
mod health;
mod leader;
mod mode;
mod obstacle;
mod order;
mod reason;
mod standing;

pub(crate) use agent::{Agent, record};
pub(crate) use health::{Protection, Report as ProtectionReport};
pub(crate) use leader::{NewLeader, Stalled, until_it_leads};
pub(crate) use mode::set_mode;
pub(crate) use obstacle::sentence as obstacle;
pub(crate) use order::{command, sentence as order};
pub(crate) use reason::sentence as reason;
pub(crate) use standing::{Blocked, blocked, policy, sentence as standing};
