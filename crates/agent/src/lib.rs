//! The daemon of a host: it looks, asks the core, and does what the core decides.

pub mod agent;
pub mod clock;
pub mod control;
mod daemon;
pub mod deadman;
mod door;
mod founding;
pub mod glance;
pub mod health;
pub mod journal;
mod loss;
mod members;
mod memory;
mod orders;
pub mod peers;
pub mod promise_file;
pub mod server;
mod store_access;
mod store_leader;
pub mod wording;

use std::path::PathBuf;

use manada_herd::Home;

pub use founding::PRIORITY_DEFAULT;
pub use loss::LostRecord;
pub use store_access::{StoreAccessError, store_of};

/// Where a node's agent keeps its own files.
pub fn agent_directory(home: &Home) -> PathBuf {
    home.path().join("agent")
}
