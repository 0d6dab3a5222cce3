//! Rows: RowDescription and DataRow.

use std::str::FromStr;

use bytes::Bytes;

use crate::body::Body;
use crate::frame::DecodeError;

/// The columns of the rows that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDescription {
    /// Left to right.
    pub columns: Vec<Column>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The object id of its type.
    pub type_oid: u32,
}

impl RowDescription {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("RowDescription", body);
        let mut columns = Vec::new();
        for _ in 0..body.u16()? {
            let name = body.text()?;
            let _table_oid = body.u32()?;
            let _column_number = body.i16()?;
            let type_oid = body.u32()?;
            let _type_bytes = body.i16()?;
            let _type_modifier = body.i32()?;
            let _format = body.i16()?;
            columns.push(Column { name, type_oid });
        }
        body.end()?;
        Ok(RowDescription { columns })
    }
}

/// One row, its values as the server wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow {
    /// Left to right; `None` is NULL.
    pub values: Vec<Option<Bytes>>,
}

/// A row does not hold what the command promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer to {command} has no valid {column}: {found:?}")]
pub struct RowError {
    /// The command.
    pub command: &'static str,
    /// The column.
    pub column: &'static str,
    /// What stands there, shortened; `None` where it is NULL or missing.
    pub found: Option<String>,
}

/// How much of a wrong value an error repeats, in characters.
const FOUND_CHARS_MAX: usize = 64;

impl DataRow {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("DataRow", body);
        let mut values = Vec::new();
        for _ in 0..body.u16()? {
            let bytes = body.i32()?;
            values.push(match bytes {
                -1 => None,
                0.. => Some(body.bytes(bytes.unsigned_abs() as usize)?),
                ..-1 => return Err(body.unknown("value length", bytes)),
            });
        }
        body.end()?;
        Ok(DataRow { values })
    }

    /// The value at `index` as text; `None` where it is NULL or not there.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.values.get(index)?.as_ref()?).ok()
    }

    /// The value at `index`, which must be there and be a `T`.
    pub(crate) fn parse<T: FromStr>(
        &self,
        command: &'static str,
        index: usize,
        column: &'static str,
    ) -> Result<T, RowError> {
        let text = self.text(index);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| RowError {
                command,
                column,
                found: text.map(|text| text.chars().take(FOUND_CHARS_MAX).collect()),
            })
    }

    /// The value at `index`, which may be NULL, but else must be a `T`.
    pub(crate) fn parse_nullable<T: FromStr>(
        &self,
        command: &'static str,
        index: usize,
        column: &'static str,
    ) -> Result<Option<T>, RowError> {
        match self.values.get(index) {
            Some(None) => Ok(None),
            Some(Some(_)) | None => self.parse(command, index, column).map(Some),
        }
    }
}
