//! What can go wrong on a replication connection.

use std::io;
use std::time::Duration;

use manada_postgres::Endpoint;
use manada_postgres::transport::TransportError;
use manada_wire::diagnostics::Diagnostics;
use manada_wire::frame::DecodeError;
use manada_wire::login::LoginError;
use manada_wire::rows::RowError;
use manada_wire::startup::EncodeError;

/// A replication connection failed, or the server refused a command.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// Not even a stream.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The time for connecting ran out.
    #[error("{endpoint} did not answer within {} s", limit.as_secs_f32())]
    ConnectTimedOut {
        /// The server.
        endpoint: Endpoint,
        /// The time it was given.
        limit: Duration,
    },
    /// The server let nobody in.
    #[error("{endpoint} refused a replication connection for {user:?}: {source}")]
    Login {
        /// The server.
        endpoint: Endpoint,
        /// The role.
        user: String,
        /// Why.
        source: LoginError,
    },
    /// The server refused a command.
    #[error("{endpoint} refused {command}: {source}")]
    Refused {
        /// The server.
        endpoint: Endpoint,
        /// The command.
        command: String,
        /// The server's word.
        source: Box<Diagnostics>,
    },
    /// The connection broke.
    #[error("the connection to {endpoint} broke: {source}")]
    Io {
        /// The server.
        endpoint: Endpoint,
        /// The operating system's word.
        source: io::Error,
    },
    /// The server ended the connection.
    #[error("{endpoint} closed the connection")]
    Closed {
        /// The server.
        endpoint: Endpoint,
    },
    /// Nothing came for too long.
    #[error("{endpoint} was silent for {} s while {waiting_for} was awaited", limit.as_secs())]
    Silent {
        /// The server.
        endpoint: Endpoint,
        /// How long it may be silent.
        limit: Duration,
        /// What was awaited.
        waiting_for: String,
    },
    /// What came is not the protocol.
    #[error("{endpoint} does not speak the replication protocol: {source}")]
    Protocol {
        /// The server.
        endpoint: Endpoint,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A message came that does not belong there.
    #[error("{endpoint} answered {command} with an unexpected {message}")]
    UnexpectedMessage {
        /// The server.
        endpoint: Endpoint,
        /// The message.
        message: &'static str,
        /// The command.
        command: String,
    },
    /// A command was answered without a row.
    #[error("the server's answer to {command} lacks its row")]
    NoRow {
        /// The command.
        command: String,
    },
    /// A row does not hold what it should.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A text can't be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl ReplicationError {
    /// The SQLSTATE the server gave, where it refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            ReplicationError::Refused { source, .. } => Some(&source.code),
            ReplicationError::Login {
                source: LoginError::Refused(diagnostics),
                ..
            } => Some(&diagnostics.code),
            ReplicationError::Login { .. }
            | ReplicationError::Transport(_)
            | ReplicationError::ConnectTimedOut { .. }
            | ReplicationError::Io { .. }
            | ReplicationError::Closed { .. }
            | ReplicationError::Silent { .. }
            | ReplicationError::Protocol { .. }
            | ReplicationError::UnexpectedMessage { .. }
            | ReplicationError::NoRow { .. }
            | ReplicationError::Row(_)
            | ReplicationError::Encode(_) => None,
        }
    }
}
