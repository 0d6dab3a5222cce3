//! `START_REPLICATION`: WAL as it is written.

use manada_model::{Lsn, SlotName, TimelineId, WalPosition};

use crate::quote::Identifier;
use crate::rows::{DataRow, RowError};

const COMMAND: &str = "START_REPLICATION";

/// The command's text.
pub fn command(slot: Option<&SlotName>, start: WalPosition) -> String {
    let slot = slot.map_or(String::new(), |slot| {
        format!(" SLOT {}", Identifier(slot.as_str()))
    });
    let WalPosition { timeline, lsn } = start;
    format!("{COMMAND}{slot} PHYSICAL {lsn} TIMELINE {timeline}")
}

/// Where the next timeline begins, said when the one that was streamed has ended.
///
/// # Errors
/// The row is not such an answer.
pub fn next_timeline(row: &DataRow) -> Result<WalPosition, RowError> {
    Ok(WalPosition {
        timeline: TimelineId(row.parse(COMMAND, 0, "next_tli")?),
        lsn: row.parse::<Lsn>(COMMAND, 1, "next_tli_startpos")?,
    })
}
