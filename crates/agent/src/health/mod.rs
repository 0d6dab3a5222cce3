//! What load balancers and monitoring ask: plain HTTP, reading alone, as Patroni answers.

mod answer;
mod listener;
mod metrics;

pub use listener::{HealthListenError, HealthListener, Sources};
