//! Copy mode: how it begins and ends.

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;

use crate::body::Body;
use crate::frame::DecodeError;

/// The form of copy data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// Lines of text. What replication commands announce, though their data is binary.
    Text,
    /// Binary.
    Binary,
}

impl CopyFormat {
    pub(crate) fn decode(message: &'static str, body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new(message, body);
        let format = match body.u8()? {
            0 => CopyFormat::Text,
            1 => CopyFormat::Binary,
            other => return Err(body.unknown("format", other)),
        };
        for _ in 0..body.u16()? {
            body.u16()?;
        }
        body.end()?;
        Ok(format)
    }
}

/// Appends CopyDone: the client sends no more.
pub fn encode_copy_done(out: &mut BytesMut) {
    frontend::copy_done(out);
}
