//! `cargo xtask bench core`: how long one decision takes in a herd of a thousand.

#![allow(clippy::print_stderr, reason = "printing is what a benchmark is for")]

use std::process::{Command, ExitCode};

/// Runs the core's own example as it is shipped: optimised.
pub(crate) fn run() -> ExitCode {
    let ran = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "manada-core"])
        .args(["--example", "thousand"])
        .current_dir(crate::repository())
        .status();
    match ran {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("bench core: {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench core: {error}");
            ExitCode::FAILURE
        }
    }
}
