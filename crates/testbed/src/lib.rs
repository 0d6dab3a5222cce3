//! Real servers, hosts with their own addresses, and faults, for tests.
//!
//! A test target that uses them has `harness = false` in its `Cargo.toml`, and lists its tests:
//!
//! ```no_run
//! use manada_testbed::{Outcome, Programs, TestServer, trials};
//!
//! trials![a_standby_follows_its_primary];
//!
//! /// Runs once per version; those that are not on this machine are counted as ignored.
//! fn a_standby_follows_its_primary(programs: Programs) -> Outcome {
//!     let primary = TestServer::start(&programs);
//!     let standby = TestServer::with(&programs).start_standby_of(&primary, "s1");
//!     primary.query("CREATE TABLE seen AS SELECT 42 AS number");
//!     standby.wait_for("SELECT to_regclass('seen') IS NOT NULL", "t");
//!     Ok(())
//! }
//! ```
//!
//! What goes wrong panics: in a test, a failure with its reason is all there is to do.

mod background;
pub mod chaos;
pub mod checker;
mod daemon;
mod etcd;
pub mod faults;
mod herd;
mod host;
mod network;
mod options;
mod port;
mod process;
mod programs;
mod run;
mod scratch;
mod server;
mod shared_memory;
mod sql;
mod template;
mod tls;
mod tree;
mod trials;
mod wait;
pub mod workload;

pub use daemon::Daemon;
pub use etcd::EtcdCluster;
pub use herd::{Agent, Clock, HerdNode, ManadaHost, NotWhole, ProtectedHerd, Shape, TIMED_OUT};
pub use host::Host;
pub use network::Network;
pub use options::ServerOptions;
pub use port::free_port;
pub use programs::{Missing, Programs};
pub use scratch::Scratch;
pub use server::TestServer;
pub use sql::{Pending, Row, Session, told};
pub use tree::names_in;
pub use trials::{Outcome, Test, run, trial};
pub use wait::{PATIENCE, poll_until, wait_for, wait_until};
