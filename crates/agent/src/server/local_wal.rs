//! Whether the server's own disk holds WAL that it has yet to replay.

use manada_model::Lsn;
use manada_postgres::control_file::ControlFile;
use manada_wal::local::LocalWal;

use super::Shared;

impl Shared {
    /// Whether nothing follows in `pg_wal` behind `replay_lsn`.
    ///
    /// That replay stands still, or stands at the end of what a walreceiver had, proves nothing: the
    /// startup process may be about to read what a receiver left, after a restart all of it. So the
    /// files are read as it would: it stops where no valid record begins, and so does this.
    pub(super) fn wal_ends_at(&self, replay_lsn: Lsn) -> bool {
        let goes_on = self
            .local_wal()
            .and_then(|wal| Ok(wal.goes_on_at(replay_lsn)?));
        match goes_on {
            Ok(goes_on) => !goes_on,
            Err(error) => {
                tracing::warn!(%error, "the WAL of this server can't be looked at");
                false
            }
        }
    }

    pub(super) fn local_wal(&self) -> Result<LocalWal, LocalWalError> {
        let data_directory = &self.node.file.data_directory;
        let control_file = ControlFile::read(data_directory)?;
        Ok(LocalWal::new(
            data_directory,
            control_file.wal_segment_bytes,
            control_file.wal_page_bytes,
        ))
    }
}

/// The WAL in the data directory can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LocalWalError {
    /// What its files are cut into can't be told.
    #[error(transparent)]
    ControlFile(#[from] manada_postgres::control_file::ControlFileError),
    /// A file can't be read.
    #[error("reading pg_wal: {0}")]
    Io(#[from] std::io::Error),
}
