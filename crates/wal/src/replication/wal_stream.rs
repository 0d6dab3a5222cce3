//! `START_REPLICATION` on a replication connection.

use std::time::Duration;

use manada_model::WalPosition;
use manada_wire::backend::BackendMessage;
use manada_wire::command::start_replication;
use manada_wire::copy::encode_copy_done;
use manada_wire::wal_stream::{Keepalive, StandbyStatus, WalData, WalMessage};

use super::{ANSWER_TIME_MAX, ReplicationConnection, ReplicationError};

/// How long a walsender may be silent. It says something every `wal_sender_timeout / 2`, which
/// is 30 s unless it was changed or switched off.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// WAL that is being sent.
#[derive(Debug)]
pub struct WalStream {
    connection: ReplicationConnection,
    command: String,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Streaming,
    /// The server said CopyDone; we have not.
    ServerDone,
    /// There was nothing to copy: the start is where the timeline ends.
    NeverBegan {
        next: Option<WalPosition>,
    },
}

/// What a walsender sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalEvent {
    /// WAL.
    Data(WalData),
    /// A sign of life, perhaps with a demand for one.
    Keepalive(Keepalive),
    /// The timeline has no more WAL: [`WalStream::stop`] says which is next.
    TimelineEnded,
}

impl WalStream {
    pub(super) async fn begin(
        mut connection: ReplicationConnection,
        command: String,
    ) -> Result<Self, ReplicationError> {
        let state = match connection.receive(ANSWER_TIME_MAX, &command).await? {
            BackendMessage::CopyBothResponse(_) => State::Streaming,
            BackendMessage::RowDescription(_) => State::NeverBegan {
                next: connection.next_timeline(&command).await?,
            },
            other => return Err(connection.unexpected(&other, &command)),
        };
        Ok(WalStream {
            connection,
            command,
            state,
        })
    }

    /// The next event. Cancelling it loses nothing.
    ///
    /// # Errors
    /// The connection broke, or the server gave up.
    pub async fn next_event(&mut self) -> Result<WalEvent, ReplicationError> {
        match self.state {
            State::Streaming => {}
            State::ServerDone | State::NeverBegan { .. } => return Ok(WalEvent::TimelineEnded),
        }
        match self.connection.receive(SILENCE_MAX, "WAL").await? {
            BackendMessage::CopyData(bytes) => match WalMessage::decode(bytes) {
                Ok(WalMessage::Data(data)) => Ok(WalEvent::Data(data)),
                Ok(WalMessage::Keepalive(keepalive)) => Ok(WalEvent::Keepalive(keepalive)),
                Err(source) => Err(ReplicationError::Protocol {
                    endpoint: self.connection.endpoint.clone(),
                    source,
                }),
            },
            BackendMessage::CopyDone => {
                self.state = State::ServerDone;
                Ok(WalEvent::TimelineEnded)
            }
            other => Err(self.connection.unexpected(&other, &self.command)),
        }
    }

    /// Tells the server how far we are.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send_status(&mut self, status: StandbyStatus) -> Result<(), ReplicationError> {
        status.encode(&mut self.connection.out);
        self.connection.flush().await
    }

    /// Ends the stream where it is. Gives the connection back, ready for another command, and
    /// the next timeline with its beginning, where the streamed one has ended.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn stop(
        mut self,
    ) -> Result<(ReplicationConnection, Option<WalPosition>), ReplicationError> {
        let connection = &mut self.connection;
        let next = match self.state {
            State::NeverBegan { next } => next,
            State::Streaming | State::ServerDone => {
                encode_copy_done(&mut connection.out);
                connection.flush().await?;
                if let State::Streaming = self.state {
                    connection.drain_copy(&self.command).await?;
                }
                connection.next_timeline(&self.command).await?
            }
        };
        Ok((self.connection, next))
    }
}

impl ReplicationConnection {
    /// Reads the copy data that was already on its way, up to CopyDone.
    async fn drain_copy(&mut self, command: &str) -> Result<(), ReplicationError> {
        loop {
            match self.receive(ANSWER_TIME_MAX, "CopyDone").await? {
                BackendMessage::CopyData(_) => {}
                BackendMessage::CopyDone => return Ok(()),
                other => return Err(self.unexpected(&other, command)),
            }
        }
    }

    /// Reads what follows the copy, up to ReadyForQuery: a row if the timeline has a successor.
    async fn next_timeline(
        &mut self,
        command: &str,
    ) -> Result<Option<WalPosition>, ReplicationError> {
        let mut next = None;
        loop {
            match self.receive(ANSWER_TIME_MAX, command).await? {
                BackendMessage::RowDescription(_) | BackendMessage::CommandComplete(_) => {}
                BackendMessage::DataRow(row) => {
                    next = Some(start_replication::next_timeline(&row)?);
                }
                BackendMessage::ReadyForQuery(_) => return Ok(next),
                other => return Err(self.unexpected(&other, command)),
            }
        }
    }
}
