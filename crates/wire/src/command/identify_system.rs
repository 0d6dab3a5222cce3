//! `IDENTIFY_SYSTEM`: who the server is, and where its WAL ends.

use manada_model::{Lsn, SystemIdentifier, TimelineId};

use crate::rows::{DataRow, RowError};

/// The command's text.
pub const COMMAND: &str = "IDENTIFY_SYSTEM";

/// Who the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifySystem {
    /// Which cluster.
    pub system_identifier: SystemIdentifier,
    /// The timeline it is on.
    pub timeline: TimelineId,
    /// How far its WAL is flushed.
    pub flush_lsn: Lsn,
}

impl TryFrom<&DataRow> for IdentifySystem {
    type Error = RowError;

    fn try_from(row: &DataRow) -> Result<Self, RowError> {
        Ok(IdentifySystem {
            system_identifier: row.parse(COMMAND, 0, "systemid")?,
            timeline: TimelineId(row.parse(COMMAND, 1, "timeline")?),
            flush_lsn: row.parse(COMMAND, 2, "xlogpos")?,
        })
    }
}
