//! Every message that a server may send to a replication client.

use bytes::Bytes;

use crate::authentication::Authentication;
use crate::body::Body;
use crate::copy::CopyFormat;
use crate::diagnostics::Diagnostics;
use crate::frame::DecodeError;
use crate::rows::{DataRow, RowDescription};
use crate::session::{
    BackendKey, NegotiateProtocolVersion, Notification, ParameterStatus, TransactionStatus,
};

/// A message from the server.
///
/// Of the protocol's messages only those of the extended query protocol are missing: a
/// replication connection has simple queries only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendMessage {
    /// `R`: what the server wants to know of the client, or that it is satisfied.
    Authentication(Authentication),
    /// `v`: the server does not speak all that was asked for.
    NegotiateProtocolVersion(NegotiateProtocolVersion),
    /// `K`: what a cancel request would need.
    BackendKeyData(BackendKey),
    /// `S`: a setting's value.
    ParameterStatus(ParameterStatus),
    /// `Z`: the next query may be sent.
    ReadyForQuery(TransactionStatus),
    /// `T`: the columns of the rows that follow.
    RowDescription(RowDescription),
    /// `D`: a row.
    DataRow(DataRow),
    /// `C`: a command is done; its tag.
    CommandComplete(String),
    /// `I`: the query was empty.
    EmptyQueryResponse,
    /// `G`: the server takes copy data.
    CopyInResponse(CopyFormat),
    /// `H`: the server is about to send copy data.
    CopyOutResponse(CopyFormat),
    /// `W`: both sides may send copy data.
    CopyBothResponse(CopyFormat),
    /// `d`: copy data. What it means depends on the command.
    CopyData(Bytes),
    /// `c`: no more copy data.
    CopyDone,
    /// `E`: it failed.
    ErrorResponse(Box<Diagnostics>),
    /// `N`: a warning.
    NoticeResponse(Box<Diagnostics>),
    /// `A`: a notification.
    Notification(Notification),
}

impl BackendMessage {
    /// Decodes one message's body.
    ///
    /// # Errors
    /// The type or the body is not one the protocol defines.
    pub fn decode(kind: u8, body: Bytes) -> Result<Self, DecodeError> {
        Ok(match kind {
            b'd' => BackendMessage::CopyData(body),
            b'R' => BackendMessage::Authentication(Authentication::decode(body)?),
            b'v' => {
                BackendMessage::NegotiateProtocolVersion(NegotiateProtocolVersion::decode(body)?)
            }
            b'K' => BackendMessage::BackendKeyData(BackendKey::decode(body)?),
            b'S' => BackendMessage::ParameterStatus(ParameterStatus::decode(body)?),
            b'Z' => BackendMessage::ReadyForQuery(TransactionStatus::decode(body)?),
            b'T' => BackendMessage::RowDescription(RowDescription::decode(body)?),
            b'D' => BackendMessage::DataRow(DataRow::decode(body)?),
            b'C' => {
                let mut body = Body::new("CommandComplete", body);
                let tag = body.text()?;
                body.end()?;
                BackendMessage::CommandComplete(tag)
            }
            b'I' => {
                Body::new("EmptyQueryResponse", body).end()?;
                BackendMessage::EmptyQueryResponse
            }
            b'G' => BackendMessage::CopyInResponse(CopyFormat::decode("CopyInResponse", body)?),
            b'H' => BackendMessage::CopyOutResponse(CopyFormat::decode("CopyOutResponse", body)?),
            b'W' => BackendMessage::CopyBothResponse(CopyFormat::decode("CopyBothResponse", body)?),
            b'c' => {
                Body::new("CopyDone", body).end()?;
                BackendMessage::CopyDone
            }
            b'E' => {
                BackendMessage::ErrorResponse(Box::new(Diagnostics::decode("ErrorResponse", body)?))
            }
            b'N' => BackendMessage::NoticeResponse(Box::new(Diagnostics::decode(
                "NoticeResponse",
                body,
            )?)),
            b'A' => BackendMessage::Notification(Notification::decode(body)?),
            _ => return Err(DecodeError::UnknownMessage { kind: kind.into() }),
        })
    }

    /// The message's name in the manual.
    pub fn name(&self) -> &'static str {
        match self {
            BackendMessage::Authentication(_) => "Authentication",
            BackendMessage::NegotiateProtocolVersion(_) => "NegotiateProtocolVersion",
            BackendMessage::BackendKeyData(_) => "BackendKeyData",
            BackendMessage::ParameterStatus(_) => "ParameterStatus",
            BackendMessage::ReadyForQuery(_) => "ReadyForQuery",
            BackendMessage::RowDescription(_) => "RowDescription",
            BackendMessage::DataRow(_) => "DataRow",
            BackendMessage::CommandComplete(_) => "CommandComplete",
            BackendMessage::EmptyQueryResponse => "EmptyQueryResponse",
            BackendMessage::CopyInResponse(_) => "CopyInResponse",
            BackendMessage::CopyOutResponse(_) => "CopyOutResponse",
            BackendMessage::CopyBothResponse(_) => "CopyBothResponse",
            BackendMessage::CopyData(_) => "CopyData",
            BackendMessage::CopyDone => "CopyDone",
            BackendMessage::ErrorResponse(_) => "ErrorResponse",
            BackendMessage::NoticeResponse(_) => "NoticeResponse",
            BackendMessage::Notification(_) => "NotificationResponse",
        }
    }
}
