//! The archive, shown: a segment leaves the primary, comes back, and is the same.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use manada_postgres::Session;
use tokio::process::Command;

use super::demonstrate::{Herd, first_value};
use super::home::LabHome;
use super::screen::Screen;
use super::server::until;
use super::step::{StepId, Used};
use super::texts::Texts;
use crate::error::Failure;

/// Where the segment is fetched to, in the lab's directory.
const FETCHED: &str = "fetched.wal";

/// Has the primary archive a segment, fetches it back and compares the two.
pub(crate) async fn show(
    herd: &Herd,
    admin: &Session,
    home: &LabHome,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<(), Failure> {
    let running = screen.begin(StepId::Archive);
    let primary = &herd.primary;
    let switch = "SELECT pg_walfile_name(pg_switch_wal());";
    let segment = first_value(admin, switch)
        .await
        .map_err(|error| primary.refused(switch, &error))?
        .unwrap_or_default();

    let watch = format!(
        "SELECT CASE WHEN last_archived_wal >= '{segment}' THEN '' ELSE last_failed_wal END \
         FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}' OR failed_count > 0"
    );
    match until(async || herd.look(&watch).await).await? {
        Some((failed, _)) if failed.is_empty() => {}
        Some((failed, _)) => {
            let log = primary.node.home.log_file();
            let why = format!("archive_command failed for {failed}: see {}", log.display());
            return Err(primary.failure("could not archive its WAL", why));
        }
        None => {
            return Err(
                primary.failure("did not archive its WAL", "archive_command does not return")
            );
        }
    }

    let archive = primary.node.file.archive_directory.as_deref();
    let archive = archive.expect("the lab's primary archives");
    let fetched = home.path().join(FETCHED);
    fetch(archive, &segment, &fetched).await?;
    let original = primary
        .node
        .file
        .data_directory
        .join("pg_wal")
        .join(&segment);
    let same = same_content(&original, &fetched)
        .map_err(|error| primary.failure("has no such segment any more", error))?;
    if !same {
        let why = format!("{} differs from {}", fetched.display(), original.display());
        return Err(primary.failure("archived something else than it wrote", why));
    }
    fs::remove_file(&fetched)
        .map_err(|error| primary.failure("left a copy that can't be removed", error))?;

    let used = vec![
        Used::line(
            "postgresql.conf",
            "archive_command = 'manada wal push %p --archive …/archive'",
        ),
        Used::sql(primary.name(), switch).gives(segment.clone()),
        Used::command(format!("manada wal fetch {segment} … --archive …/archive")),
    ];
    screen.done(running, texts.archived(&segment), used);
    Ok(())
}

async fn fetch(archive: &Path, segment: &str, to: &Path) -> Result<(), Failure> {
    let failed = |why: String| {
        Failure::failed(format!("{segment} could not be fetched from the archive")).because(why)
    };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args(["wal", "fetch", segment])
        .arg(to)
        .arg("--archive")
        .arg(archive)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    const CHUNK_BYTES: usize = 1 << 20;
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let bytes = one.read(&mut left)?;
        if bytes == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..bytes])?;
        if left[..bytes] != right[..bytes] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_content_is_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, content).expect("written");
            path
        };
        let big = vec![7; (1 << 20) + 3];
        let mut changed = big.clone();
        changed[1 << 20] = 8;
        let (a, b) = (file("a", &big), file("b", &big));
        let (c, d) = (file("c", &changed), file("d", &big[1..]));
        assert!(same_content(&a, &b).expect("read"));
        assert!(!same_content(&a, &c).expect("read"));
        assert!(!same_content(&a, &d).expect("read"));
    }
}
