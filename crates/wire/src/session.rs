//! Messages about the session: settings, keys, readiness, notifications.

use bytes::Bytes;

use crate::body::Body;
use crate::frame::DecodeError;

/// A setting that the server reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterStatus {
    /// Its name, such as `server_version`.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl ParameterStatus {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("ParameterStatus", body);
        let name = body.text()?;
        let value = body.text()?;
        body.end()?;
        Ok(ParameterStatus { name, value })
    }
}

/// What a cancel request would need.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendKey {
    /// The server process.
    pub process_id: i32,
    /// The secret; 4 bytes in protocol 3.0.
    pub secret: Bytes,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}

impl BackendKey {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("BackendKeyData", body);
        let process_id = body.i32()?;
        let secret = body.rest();
        body.end()?;
        Ok(BackendKey { process_id, secret })
    }
}

/// Whether the next query begins in a transaction. A replication connection has none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// Not in a transaction.
    Idle,
    /// In one.
    InTransaction,
    /// In one that has failed.
    Failed,
}

impl TransactionStatus {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("ReadyForQuery", body);
        let status = match body.u8()? {
            b'I' => TransactionStatus::Idle,
            b'T' => TransactionStatus::InTransaction,
            b'E' => TransactionStatus::Failed,
            other => return Err(body.unknown("transaction status", other)),
        };
        body.end()?;
        Ok(status)
    }
}

/// The newest minor protocol version the server speaks, and the options it did not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateProtocolVersion {
    /// The protocol version.
    pub version: u32,
    /// The options.
    pub unknown_options: Vec<String>,
}

impl NegotiateProtocolVersion {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("NegotiateProtocolVersion", body);
        let version = body.u32()?;
        let count = body.u32()?;
        let mut unknown_options = Vec::new();
        for _ in 0..count {
            unknown_options.push(body.text()?);
        }
        body.end()?;
        Ok(NegotiateProtocolVersion {
            version,
            unknown_options,
        })
    }
}

/// What another session said with `NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The process that said it.
    pub process_id: i32,
    /// The channel.
    pub channel: String,
    /// The payload.
    pub payload: String,
}

impl Notification {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("NotificationResponse", body);
        let process_id = body.i32()?;
        let channel = body.text()?;
        let payload = body.text()?;
        body.end()?;
        Ok(Notification {
            process_id,
            channel,
            payload,
        })
    }
}
