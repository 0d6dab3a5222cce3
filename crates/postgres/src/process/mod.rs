//! One local server as a process: started, watched, signalled and stopped.
//!
//! Everything here blocks for as long as it says; asynchronous callers put it on a thread of its
//! own. A process is only ever signalled after it was proven to be the server of the data
//! directory at hand, through a descriptor that can't come to mean another process.

mod failure;
mod pid_file;
mod running;
mod start;
mod stop;

pub use failure::Failure;
pub use pid_file::{ParsePidFileError, PidFile, PostmasterStatus};
pub use running::{RunningError, RunningServer, running};
pub use start::{READY_WITHIN, StartError, StartOptions, start};
pub use stop::{STOPPED_WITHIN, StopError, StopMode, Stopped, stop};
