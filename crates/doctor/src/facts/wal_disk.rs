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
    /// server's: its `postmaster.pid` must have been written when this server started.
    pub(super) async fn read(session: &Session) -> Fact<WalDisk> {
        let sql = "
            SELECT current_setting('data_directory') AS data_directory,
                   extract(epoch FROM pg_postmaster_start_time())::int8 AS started_s,
                   current_setting('port') AS port";
        let read = rows(session, Source::WalDisk, sql, |row| {
            let directory: String = row.get("data_directory");
            (
                directory,
                row.get::<_, i64>("started_s"),
                row.get::<_, String>("port"),
            )
        })
        .await;
        let looked = read.and_then(|places| {
            let (directory, started_s, port) = &places[0];
            look(Path::new(directory), *started_s, port)
        });
        looked.into()
    }
}

fn look(directory: &Path, started_s: i64, port: &str) -> Result<WalDisk, Unknown> {
    let elsewhere = |_| Unknown::new(Source::WalDisk, Why::Denied);
    let pid_file = std::fs::read_to_string(directory.join("postmaster.pid")).map_err(elsewhere)?;
    // Its lines: process, data directory, start, port.
    let lines: Vec<&str> = pid_file.lines().map(str::trim).collect();
    let started_then: Option<i64> = lines.get(2).and_then(|line| line.parse().ok());
    let same_start = started_then.is_some_and(|then| (then - started_s).abs() <= 1);
    if !same_start || lines.get(3) != Some(&port) {
        return Err(Unknown::new(Source::WalDisk, Why::Denied));
    }
    let disk = rustix::fs::statvfs(directory.join("pg_wal"))
        .map_err(|error| Unknown::new(Source::WalDisk, Why::Failed(error.to_string())))?;
    Ok(WalDisk {
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}
