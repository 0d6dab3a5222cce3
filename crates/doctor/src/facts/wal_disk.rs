//! The disk under `pg_wal`, where this process runs on the server's host.

use std::path::Path;

use manada_postgres::Session;

use super::gather::rows;
use super::source::{Fact, Source, Unknown, Why};

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalDisk {
    /// Its size.
    pub total_bytes: u64,
    /// What the server may still write.
    pub free_bytes: u64,
}

impl WalDisk {
    /// SQL can't tell what is free. The directory is looked at only once it is proven to be this
    /// server's: the process its `postmaster.pid` names must be the parent, on this host, of the
    /// process that serves this session.
    pub(super) async fn read(session: &Session) -> Fact<WalDisk> {
        let sql = "SELECT current_setting('data_directory') AS data_directory, \
                   pg_backend_pid() AS backend";
        let read = rows(session, Source::WalDisk, sql, |row| {
            let directory: String = row.get("data_directory");
            (directory, row.get::<_, i32>("backend"))
        })
        .await;
        let looked = read.and_then(|places| {
            let (directory, backend) = &places[0];
            look(Path::new(directory), *backend)
        });
        looked.into()
    }
}

fn look(directory: &Path, backend: i32) -> Result<WalDisk, Unknown> {
    let elsewhere = || Unknown::new(Source::WalDisk, Why::Denied);
    let postmaster = postmaster_of(directory).ok_or_else(elsewhere)?;
    if parent_of(backend) != Some(postmaster) {
        return Err(elsewhere());
    }
    let disk = rustix::fs::statvfs(directory.join("pg_wal"))
        .map_err(|error| Unknown::new(Source::WalDisk, Why::Failed(error.to_string())))?;
    Ok(WalDisk {
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

/// The process that the directory's `postmaster.pid` names in its first line.
fn postmaster_of(directory: &Path) -> Option<i32> {
    let pid_file = std::fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    pid_file.lines().next()?.trim().parse().ok()
}

/// The parent of a process of this host: the second field behind the name, which stands in
/// parentheses and may hold anything (proc(5)).
fn parent_of(process: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_of_a_process_is_read_from_proc() {
        let here = i32::try_from(std::process::id()).expect("a process id");
        let parent = i32::try_from(std::os::unix::process::parent_id()).expect("a process id");
        assert_eq!(parent_of(here), Some(parent));
    }

    #[test]
    fn a_directory_of_another_server_is_not_looked_at() {
        let nowhere = look(Path::new("/nonexistent"), 1).expect_err("it is not there");
        assert_eq!(nowhere.why(), &Why::Denied);
    }
}
