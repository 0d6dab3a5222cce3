//! `pg_rewind`: of the data, only what has changed since the histories parted comes from the leader.

use std::fs;
use std::io;
use std::process::Output;
use std::time::Duration;

use manada_model::{NodeName, TimelineId};
use manada_postgres::Session;
use manada_postgres::conninfo::Endpoint;
use manada_postgres::control_file::{ControlFile, DatabaseState};

use super::super::Shared;
use super::super::error::OrderError;
use super::RejoinError;

/// How long a rewind may take: at worst it copies most of the data.
const REWOUND_WITHIN: Duration = Duration::from_secs(3600);
/// How long the leader's checkpoint is waited for.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(60);
/// How much of what the program says goes into an error.
const SAID_BYTES_MAX: usize = 2000;

impl Shared {
    pub(super) async fn rewind(
        &self,
        leader: &NodeName,
        endpoint: Endpoint,
    ) -> Result<(), OrderError> {
        if self.rejoin_is_unfinished() {
            return Err(RejoinError::BrokenOff.into());
        }
        let control_file =
            ControlFile::read(&self.node.file.data_directory).map_err(RejoinError::from)?;
        self.can_rewind(&control_file)?;
        self.demand_less_than_a_clone(&endpoint).await?;
        let timeline =
            prepare_source(&Session::open(&self.source(endpoint.clone())).await?).await?;
        if timeline == last_timeline(&control_file) {
            return Err(RejoinError::SameTimeline { timeline }.into());
        }
        self.begin_rewind(leader)?;
        if !is_clean(control_file.state) {
            // The program recovers it first, alone, which a standby's signal forbids.
            self.remove_standby_signal()?;
        }
        let output = self.run_rewind(&endpoint).await?;
        if !output.status.success() {
            return Err(RejoinError::Rewind {
                status: output.status,
                said: end_of(&output.stderr),
            }
            .into());
        }
        self.demand_wal_to_recover()?;
        Ok(self.put_configuration_back()?)
    }

    /// What was rewound replays all WAL since the last checkpoint that both histories have. The
    /// leader may have recycled it, and the program takes away what the leader does not have: such
    /// data would wait for it for ever, and take no connections.
    fn demand_wal_to_recover(&self) -> Result<(), RejoinError> {
        let file = &self.node.file;
        let label = file.data_directory.join("backup_label");
        let text = match fs::read_to_string(&label) {
            Ok(text) => text,
            // There was nothing to rewind.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(RejoinError::io("read", &label)(source)),
        };
        let Some(segment) = first_segment(&text) else {
            return Ok(());
        };
        let is_there = file.data_directory.join("pg_wal").join(segment).exists();
        if is_there || file.archive_directory.is_some() {
            return Ok(());
        }
        Err(RejoinError::WalGone {
            segment: segment.to_owned(),
        })
    }

    fn can_rewind(&self, control_file: &ControlFile) -> Result<(), RejoinError> {
        let path = self.node.file.bin_dir.join("pg_rewind");
        if !path.exists() {
            return Err(RejoinError::NoProgram { path });
        }
        if !control_file.data_checksums && !control_file.settings.wal_log_hints {
            return Err(RejoinError::NotRewindable);
        }
        Ok(())
    }

    async fn run_rewind(&self, leader: &Endpoint) -> Result<Output, OrderError> {
        let file = &self.node.file;
        let path = file.bin_dir.join("pg_rewind");
        let mut command = self.node.user()?.command(&path);
        command
            .arg("--target-pgdata")
            .arg(&file.data_directory)
            // It names the password file, and holds no secret itself.
            .arg("--source-server")
            .arg(self.source(leader.clone()).to_keywords());
        if !file.config_file.starts_with(&file.data_directory) {
            command.arg("--config-file").arg(&file.config_file);
        }
        let failed = RejoinError::io("run", &path);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        match tokio::time::timeout(REWOUND_WITHIN, command.output()).await {
            Ok(output) => Ok(output.map_err(failed)?),
            Err(_) => Err(RejoinError::RewindHangs {
                within: REWOUND_WITHIN,
            }
            .into()),
        }
    }
}

/// The leader's timeline. Up to 15 `pg_rewind` takes it from the last checkpoint, which right after a
/// promotion is still the former timeline's: so there is to be another one.
async fn prepare_source(session: &Session) -> Result<TimelineId, RejoinError> {
    let sql = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int8, \
               (SELECT timeline_id::int8 FROM pg_control_checkpoint())";
    let sql_error = |source| RejoinError::Sql { source };
    let row = session.query_one(sql, &[]).await.map_err(sql_error)?;
    let (current, of_checkpoint): (i64, i64) = (row.get(0), row.get(1));
    if current != of_checkpoint {
        let checkpoint = session.batch_execute("CHECKPOINT");
        match tokio::time::timeout(CHECKPOINT_WITHIN, checkpoint).await {
            Ok(done) => done.map_err(sql_error)?,
            Err(_) => {
                return Err(RejoinError::Silent {
                    within: CHECKPOINT_WITHIN,
                });
            }
        }
    }
    Ok(TimelineId(u32::try_from(current).unwrap_or_default()))
}

/// The timeline of the last WAL that the data directory has seen.
pub(super) fn last_timeline(control_file: &ControlFile) -> TimelineId {
    let recovered = control_file.min_recovery.map(|position| position.timeline);
    recovered
        .into_iter()
        .fold(control_file.checkpoint.timeline, Ord::max)
}

/// The WAL file with which a recovery by this label begins: `START WAL LOCATION: 0/B76DE88 (file
/// 0000000A000000000000000B)`.
fn first_segment(label: &str) -> Option<&str> {
    let line = label
        .lines()
        .find(|it| it.starts_with("START WAL LOCATION"))?;
    line.split_once("(file ")?.1.strip_suffix(')')
}

fn is_clean(state: DatabaseState) -> bool {
    match state {
        DatabaseState::ShutDown | DatabaseState::ShutDownInRecovery => true,
        DatabaseState::Starting
        | DatabaseState::ShuttingDown
        | DatabaseState::InCrashRecovery
        | DatabaseState::InArchiveRecovery
        | DatabaseState::InProduction => false,
    }
}

fn end_of(said: &[u8]) -> String {
    let begin = said.len().saturating_sub(SAID_BYTES_MAX);
    String::from_utf8_lossy(&said[begin..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_is_the_labels() {
        let label = "START WAL LOCATION: 0/B76DE88 (file 0000000A000000000000000B)\n\
                     CHECKPOINT LOCATION: 0/C8AD398\nBACKUP METHOD: pg_rewind\n";
        assert_eq!(first_segment(label), Some("0000000A000000000000000B"));
        assert_eq!(first_segment("BACKUP METHOD: pg_rewind\n"), None);
    }
}
