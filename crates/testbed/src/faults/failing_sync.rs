//! A server whose disk says at every sync that it failed.

use std::process::{Child, Command, Stdio};

use crate::herd::HerdNode;
use crate::programs::Missing;

/// `fdatasync` and `fsync` of a server give EIO until this is dropped.
#[derive(Debug)]
#[must_use = "syncs succeed again when this is dropped"]
pub struct FailingSync {
    strace: Child,
}

impl FailingSync {
    /// For all processes that the server has now.
    pub fn of(node: &HerdNode) -> Result<FailingSync, Missing> {
        let mut strace = Command::new("strace");
        strace
            .args(["-qq", "-e", "trace=fdatasync,fsync"])
            .args(["-e", "inject=fdatasync,fsync:error=EIO"])
            .args(["-o", "/dev/null"]);
        for pid in node.server_process_ids() {
            strace.args(["-p", &pid.to_string()]);
        }
        strace.stdin(Stdio::null()).stderr(Stdio::null());
        match strace.spawn() {
            Ok(strace) => Ok(FailingSync { strace }),
            Err(error) => Err(Missing::new(format!(
                "failing syncs need the package strace: {error}"
            ))),
        }
    }
}

impl Drop for FailingSync {
    fn drop(&mut self) {
        // It ends by itself when all whom it follows have ended.
        self.strace.kill().ok();
        self.strace.wait().ok();
    }
}
