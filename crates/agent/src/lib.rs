//! The daemon of a host: it looks, asks the core, and does what the core decides.

pub mod server;

pub mod control;
