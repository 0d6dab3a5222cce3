//! `SHOW`: a setting's value.

use crate::quote::Identifier;
use crate::rows::{DataRow, RowError};

/// The command's text.
pub fn command(setting: &str) -> String {
    format!("SHOW {}", Identifier(setting))
}

/// The setting's value.
///
/// # Errors
/// The row is not such an answer.
pub fn value(row: &DataRow) -> Result<String, RowError> {
    row.parse("SHOW", 0, "value")
}
