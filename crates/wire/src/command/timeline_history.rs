//! `TIMELINE_HISTORY`: how a timeline came to be.

use bytes::Bytes;
use manada_model::TimelineId;

use crate::rows::{DataRow, RowError};

const COMMAND: &str = "TIMELINE_HISTORY";

/// The command's text.
pub fn command(timeline: TimelineId) -> String {
    format!("{COMMAND} {timeline}")
}

/// A timeline's history file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineHistoryFile {
    /// What the file holds.
    pub content: Bytes,
}

impl TimelineHistoryFile {
    /// The file's name in `pg_wal`.
    pub fn file_name(timeline: TimelineId) -> String {
        format!("{:08X}.history", timeline.0)
    }

    /// Reads the answer for `timeline`. A server's own idea of the file's name must be the right
    /// one.
    ///
    /// # Errors
    /// The row is not such an answer.
    pub fn from_row(timeline: TimelineId, row: &DataRow) -> Result<Self, RowError> {
        let name: String = row.parse(COMMAND, 0, "filename")?;
        if name != Self::file_name(timeline) {
            return Err(RowError {
                command: COMMAND,
                column: "filename",
                found: Some(name.chars().take(64).collect()),
            });
        }
        match row.values.get(1) {
            Some(Some(content)) => Ok(TimelineHistoryFile {
                content: content.clone(),
            }),
            Some(None) | None => Err(RowError {
                command: COMMAND,
                column: "content",
                found: None,
            }),
        }
    }
}
