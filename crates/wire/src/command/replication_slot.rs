//! `CREATE_REPLICATION_SLOT`, `READ_REPLICATION_SLOT`, `DROP_REPLICATION_SLOT`.

use manada_model::{Lsn, SlotName, TimelineId};

use crate::quote::Identifier;
use crate::rows::{DataRow, RowError};

/// How long a slot lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotLife {
    /// Until it is dropped.
    Permanent,
    /// Until the connection that made it ends.
    Temporary,
}

/// Makes a physical slot that holds WAL from now on. Without `RESERVE_WAL` it would protect
/// nothing until its first use.
pub fn create_command(slot: &SlotName, life: SlotLife) -> String {
    let temporary = match life {
        SlotLife::Permanent => "",
        SlotLife::Temporary => " TEMPORARY",
    };
    let slot = Identifier(slot.as_str());
    format!("CREATE_REPLICATION_SLOT {slot}{temporary} PHYSICAL (RESERVE_WAL)")
}

/// Asks where a slot stands.
pub fn read_command(slot: &SlotName) -> String {
    format!("{READ} {}", Identifier(slot.as_str()))
}

/// Drops a slot, after whoever uses it has let go.
pub fn drop_command(slot: &SlotName) -> String {
    format!("DROP_REPLICATION_SLOT {} WAIT", Identifier(slot.as_str()))
}

const READ: &str = "READ_REPLICATION_SLOT";

/// Where a physical slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotPosition {
    /// The oldest WAL it holds; `None` until it has held any.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that WAL.
    pub restart_timeline: Option<TimelineId>,
}

/// Reads the answer to [`read_command`]; `None` where there is no such slot.
///
/// # Errors
/// The row is not such an answer.
pub fn position(row: &DataRow) -> Result<Option<SlotPosition>, RowError> {
    if row
        .parse_nullable::<String>(READ, 0, "slot_type")?
        .is_none()
    {
        return Ok(None);
    }
    Ok(Some(SlotPosition {
        restart_lsn: row.parse_nullable(READ, 1, "restart_lsn")?,
        restart_timeline: row.parse_nullable(READ, 2, "restart_tli")?.map(TimelineId),
    }))
}
