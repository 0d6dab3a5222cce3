//! Running the machine's tools.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// What `command` prints. An error with what it said when it fails.
pub(crate) fn output(command: &mut Command) -> io::Result<String> {
    let output = command
        .output()
        .map_err(|error| not_started(command, &error))?;
    checked(command, output)
}

/// As [`output`], with `input` to read.
pub(crate) fn output_given(command: &mut Command, input: &str) -> io::Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(command, &error))?;
    let mut pipe = child.stdin.take().expect("it was made piped");
    pipe.write_all(input.as_bytes())?;
    drop(pipe);
    let output = child.wait_with_output()?;
    checked(command, output)
}

fn not_started(command: &Command, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{command:?} did not start: {error}"))
}

fn checked(command: &Command, output: Output) -> io::Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?} failed: {said}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
