//! One local server as a process: started, watched, signalled and stopped.
//!
//! Everything here blocks for as long as it says; asynchronous callers put it on a thread of its
//! own. A process is only ever signalled after it was proven to be the server of the data
//! directory at hand, through a descriptor that can't come to mean another process.

mod command_line;
mod configured;
mod files;
mod pid_file;
mod restart;
mod running;
mod signal;
mod start;
mod start_log;
mod stop;
mod supervisor;
mod trouble;

pub use command_line::CommandLine;
pub use configured::{ConfiguredError, configured};
pub use files::{ServerFiles, ServerFilesError, server_files};
pub use pid_file::{ParsePidFileError, PidFile, PostmasterStatus};
pub use restart::{RestartError, Restarted, restart};
pub use running::{HeldServer, RunningError, RunningServer, hold, running};
pub use signal::{PROMOTED_WITHIN, PromoteError, SignalError, promote, reload};
pub use start::{READY_WITHIN, StartError, StartOptions, start};
pub use start_log::StartLog;
pub use stop::{STOPPED_WITHIN, StopError, StopMode, Stopped, end_at_once, end_orphans, stop};
pub use supervisor::Supervisor;
pub use trouble::trouble_in;
