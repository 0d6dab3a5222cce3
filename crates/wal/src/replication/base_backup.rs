//! `BASE_BACKUP` on a replication connection.

use std::time::Duration;

use bytes::Bytes;
use manada_model::WalPosition;
use manada_wire::backend::BackendMessage;
use manada_wire::command::base_backup::{self, BaseBackup, Checkpoint, Tablespace};

use super::{ANSWER_TIME_MAX, ROWS_MAX, ReplicationConnection, ReplicationError};
use manada_wire::rows::DataRow;

/// How long the server may take for the checkpoint that begins a backup, when it is spread: it
/// says nothing meanwhile. `checkpoint_timeout` is at most a day.
const SPREAD_CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(25 * 3600);

/// The same when the checkpoint is fast: as long as writing out the buffers takes.
const FAST_CHECKPOINT_TIME_MAX: Duration = Duration::from_secs(3600);

/// How long the server may be silent in the middle of a backup: it may read a slow disk.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// A base backup that is being sent.
#[derive(Debug)]
pub struct BaseBackupStream {
    connection: ReplicationConnection,
    command: String,
    start: BackupStart,
}

/// What the server says before the backup's bytes.
#[derive(Debug, Clone)]
pub struct BackupStart {
    /// Where the WAL begins that the backup needs.
    pub position: WalPosition,
    /// The tablespaces, the data directory itself among them.
    pub tablespaces: Vec<Tablespace>,
}

impl ReplicationConnection {
    /// Begins a base backup: waits for the server's checkpoint.
    ///
    /// # Errors
    /// The connection broke, or the server refused.
    pub async fn base_backup(
        mut self,
        options: &BaseBackup,
    ) -> Result<BaseBackupStream, ReplicationError> {
        let command = options.to_string();
        let checkpoint_time_max = match options.checkpoint {
            Checkpoint::Fast => FAST_CHECKPOINT_TIME_MAX,
            Checkpoint::Spread => SPREAD_CHECKPOINT_TIME_MAX,
        };
        self.send_query(&command).await?;
        let position = self.result_set(checkpoint_time_max, &command).await?;
        let position = base_backup::position(only(&position, &command)?)?;
        let tablespaces = self.result_set(SILENCE_MAX, &command).await?;
        let tablespaces = tablespaces
            .iter()
            .map(Tablespace::try_from)
            .collect::<Result<_, _>>()?;
        match self.receive(SILENCE_MAX, &command).await? {
            BackendMessage::CopyOutResponse(_) => {}
            other => return Err(self.unexpected(&other, &command)),
        }
        Ok(BaseBackupStream {
            connection: self,
            command,
            start: BackupStart {
                position,
                tablespaces,
            },
        })
    }

    /// The rows of one result, up to its CommandComplete.
    async fn result_set(
        &mut self,
        silence_max: Duration,
        command: &str,
    ) -> Result<Vec<DataRow>, ReplicationError> {
        let mut rows = Vec::new();
        loop {
            match self.receive(silence_max, command).await? {
                BackendMessage::RowDescription(_) => {}
                BackendMessage::DataRow(row) if rows.len() < ROWS_MAX => rows.push(row),
                BackendMessage::CommandComplete(_) => return Ok(rows),
                other => return Err(self.unexpected(&other, command)),
            }
        }
    }
}

impl BaseBackupStream {
    /// What the server said before the backup's bytes.
    pub fn start(&self) -> &BackupStart {
        &self.start
    }

    /// Appends the next copy data to `batch`: what one read from the socket brings. Returns
    /// whether there is more to come.
    ///
    /// # Errors
    /// The connection broke, or the server gave up.
    pub async fn next_batch(&mut self, batch: &mut Vec<Bytes>) -> Result<bool, ReplicationError> {
        let first = self.connection.receive(SILENCE_MAX, "the backup").await?;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                BackendMessage::CopyData(bytes) => batch.push(bytes),
                BackendMessage::CopyDone => return Ok(false),
                BackendMessage::NoticeResponse(notice) => {
                    tracing::warn!(server = %self.connection.endpoint, %notice);
                }
                BackendMessage::ParameterStatus(_) => {}
                other => return Err(self.connection.unexpected(&other, &self.command)),
            }
            next = self.connection.decode()?;
        }
        Ok(true)
    }

    /// Ends the backup: returns where the WAL ends that it needs.
    ///
    /// # Errors
    /// The connection broke, or the server found the backup to be unusable.
    pub async fn finish(mut self) -> Result<WalPosition, ReplicationError> {
        let connection = &mut self.connection;
        let rows = connection.result_set(SILENCE_MAX, &self.command).await?;
        let end = base_backup::position(only(&rows, &self.command)?)?;
        loop {
            match connection.receive(ANSWER_TIME_MAX, &self.command).await? {
                BackendMessage::CommandComplete(_) => {}
                BackendMessage::ReadyForQuery(_) => break,
                other => return Err(connection.unexpected(&other, &self.command)),
            }
        }
        self.connection.close().await;
        Ok(end)
    }
}

fn only<'a>(rows: &'a [DataRow], command: &str) -> Result<&'a DataRow, ReplicationError> {
    rows.first().ok_or_else(|| ReplicationError::NoRow {
        command: command.to_owned(),
    })
}
