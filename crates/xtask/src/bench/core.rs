//! `cargo xtask bench core`: how long one decision takes in a herd of a thousand.

use std::process::Command;

use crate::program::build_release;

/// What the core's own example says, as it is shipped: optimised.
pub(super) fn measure() -> Result<String, String> {
    let example = build_release(
        "manada-core",
        &["--example", "thousand"],
        "examples/thousand",
    )?;
    let output = Command::new(&example)
        .output()
        .map_err(|error| format!("can't run {}: {error}", example.display()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "{} ended with {}:\n{}",
            example.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
