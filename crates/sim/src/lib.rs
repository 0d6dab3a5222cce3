//! A herd of simulated servers around the shipped core: every order of events within bounds
//! ([`model`]), and long lives full of faults ([`simulation`]).

pub mod model;
pub mod shared;
pub mod simulation;
pub mod world;
