//! A herd that agents protect: the agent of this host, what it sees, and what is wanted of it.

mod agent;
mod blocked;
mod health;
mod leader;
mod mode;

pub(crate) use agent::{Agent, record};
pub(crate) use blocked::{Blocked, blocked};
pub(crate) use health::{Protection, Report as ProtectionReport};
pub(crate) use leader::{Course, NewLeader, Patience, Stalled, until_it_goes_on};
pub(crate) use mode::set_mode;
