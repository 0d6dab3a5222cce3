//! What is kept of a run that broke a promise.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checker::History;
use crate::herd::ProtectedHerd;
use crate::run::output;

/// Copies what the nodes said, and what clients were told, to a new directory in `place`. The
/// data directories are left out, but for what says who a server was.
pub(super) fn keep(
    herd: &ProtectedHerd,
    history: &History,
    place: &Path,
    seed: u64,
) -> io::Result<PathBuf> {
    let kept = place.join(format!("manada-chaos.{seed}.{}", std::process::id()));
    fs::create_dir_all(&kept)?;
    for node in herd.nodes() {
        let to = kept.join(node.name());
        fs::create_dir_all(&to)?;
        let home = node.host().home();
        let logs = [node.agent_log(), home.join("etcd.log"), node.server_log()];
        for log in logs {
            // A host that never had one has nothing to keep.
            fs::copy(&log, to.join(log.file_name().expect("a file"))).ok();
        }
        let home = node.data().parent().expect("it is in the node's home");
        let mut tar = Command::new("tar");
        tar.args(["--create", "--gzip", "--ignore-failed-read", "--file"])
            .arg(to.join("home.tar.gz"))
            .args(["--exclude", "./data/base", "--exclude", "./data/global"])
            .arg("--directory")
            .arg(home)
            .arg(".");
        // It complains of what changes while it is read, and keeps it all the same.
        output(&mut tar).ok();
    }
    fs::write(kept.join("history"), told(history))?;
    Ok(kept)
}

/// One line for each write, in the order of their numbers.
fn told(history: &History) -> String {
    let mut writes: Vec<_> = history.writes.iter().collect();
    writes.sort_by_key(|write| write.number);
    let mut text = String::new();
    for write in writes {
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "{} session {} sequence {} on {} (open since {:?}): {:?} to {:?}, {:?}",
            write.number,
            write.session,
            write.sequence,
            write.node,
            write.opened,
            write.invoked,
            write.ended,
            write.outcome
        );
    }
    text
}
