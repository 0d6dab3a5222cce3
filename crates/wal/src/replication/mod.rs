//! A replication connection: commands, base backups and WAL from one server.

mod base_backup;
mod error;
mod wal_stream;

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use manada_model::{SlotName, TimelineId};
use manada_postgres::transport::{Peer, Transport};
use manada_postgres::{Conninfo, Endpoint};
use manada_wire::backend::BackendMessage;
use manada_wire::command::identify_system::{self, IdentifySystem};
use manada_wire::command::replication_slot::{self, SlotLife, SlotPosition};
use manada_wire::command::timeline_history::{self, TimelineHistoryFile};
use manada_wire::command::{show, start_replication};
use manada_wire::diagnostics::Diagnostics;
use manada_wire::frame::{Decoder, READ_BYTES};
use manada_wire::login::{Channel, Credentials, Login, LoginStep};
use manada_wire::rows::DataRow;
use manada_wire::startup::{encode_query, encode_startup, encode_terminate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use base_backup::{BackupStart, BaseBackupStream};
pub use error::ReplicationError;
pub use wal_stream::{WalEvent, WalStream};

/// How long a server may take to answer a command that has nothing to wait for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// The most rows that a command's answer may have: one for each tablespace of a base backup.
const ROWS_MAX: usize = 4096;

/// What a password file calls the database of a physical replication connection.
const PASSFILE_DATABASE: &str = "replication";

/// A connection to a walsender. Dropping it ends it.
#[derive(Debug)]
pub struct ReplicationConnection {
    endpoint: Endpoint,
    transport: Transport,
    decoder: Decoder,
    out: BytesMut,
}

impl ReplicationConnection {
    /// Connects to the first endpoint that lets us in, each attempt bounded by
    /// [`Conninfo::connect_timeout`]. On a Unix socket, `peer` is the operating system's user to
    /// appear as.
    ///
    /// # Errors
    /// None of them does; the error is the last one's.
    pub async fn open(conninfo: &Conninfo, peer: Option<Peer>) -> Result<Self, ReplicationError> {
        let mut last = None;
        for endpoint in &conninfo.endpoints {
            let limit = conninfo.connect_timeout;
            match tokio::time::timeout(limit, open_at(conninfo, endpoint, peer)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    last = Some(ReplicationError::ConnectTimedOut {
                        endpoint: endpoint.clone(),
                        limit,
                    });
                }
            }
        }
        Err(last.expect("a connection has at least one endpoint"))
    }

    /// The server this connection is with.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks who the server is and where its WAL ends.
    ///
    /// # Errors
    /// The connection broke, or the server refused.
    pub async fn identify_system(&mut self) -> Result<IdentifySystem, ReplicationError> {
        let row = self.one_row(identify_system::COMMAND).await?;
        Ok(IdentifySystem::try_from(&row)?)
    }

    /// Asks for a setting's value.
    ///
    /// # Errors
    /// The connection broke, or there is no such setting.
    pub async fn show(&mut self, setting: &str) -> Result<String, ReplicationError> {
        let row = self.one_row(&show::command(setting)).await?;
        Ok(show::value(&row)?)
    }

    /// Makes a physical slot that holds WAL from now on.
    ///
    /// # Errors
    /// The connection broke, or the server refused.
    pub async fn create_slot(
        &mut self,
        slot: &SlotName,
        life: SlotLife,
    ) -> Result<(), ReplicationError> {
        let command = replication_slot::create_command(slot, life);
        self.one_row(&command).await.map(drop)
    }

    /// Asks where a physical slot stands; `None` where there is no such slot.
    ///
    /// # Errors
    /// The connection broke, or the slot is a logical one.
    pub async fn read_slot(
        &mut self,
        slot: &SlotName,
    ) -> Result<Option<SlotPosition>, ReplicationError> {
        let row = self.one_row(&replication_slot::read_command(slot)).await?;
        Ok(replication_slot::position(&row)?)
    }

    /// Drops a slot, after whoever uses it has let go.
    ///
    /// # Errors
    /// The connection broke, or the server refused.
    pub async fn drop_slot(&mut self, slot: &SlotName) -> Result<(), ReplicationError> {
        let command = replication_slot::drop_command(slot);
        self.rows(&command).await.map(drop)
    }

    /// Asks how a timeline came to be. Timeline 1 has no history.
    ///
    /// # Errors
    /// The connection broke, or the server does not know the timeline.
    pub async fn timeline_history(
        &mut self,
        timeline: TimelineId,
    ) -> Result<TimelineHistoryFile, ReplicationError> {
        let row = self.one_row(&timeline_history::command(timeline)).await?;
        Ok(TimelineHistoryFile::from_row(timeline, &row)?)
    }

    /// Begins to stream WAL. With a slot, the server keeps what has not been confirmed.
    ///
    /// # Errors
    /// The connection broke, or the server refused: it no longer has that WAL, or the slot is in
    /// use.
    pub async fn start_replication(
        mut self,
        slot: Option<&SlotName>,
        start: manada_model::WalPosition,
    ) -> Result<WalStream, ReplicationError> {
        let command = start_replication::command(slot, start);
        self.send_query(&command).await?;
        WalStream::begin(self, command).await
    }

    /// Takes leave. A server notices a dropped connection too, only later.
    pub async fn close(mut self) {
        encode_terminate(&mut self.out);
        // Whether the server hears it makes no difference to us.
        let _ = tokio::time::timeout(ANSWER_TIME_MAX, self.flush()).await;
    }

    async fn one_row(&mut self, command: &str) -> Result<DataRow, ReplicationError> {
        let rows = self.rows(command).await?;
        rows.into_iter()
            .next()
            .ok_or_else(|| ReplicationError::NoRow {
                command: command.to_owned(),
            })
    }

    /// Runs a command that answers with rows, to its end.
    async fn rows(&mut self, command: &str) -> Result<Vec<DataRow>, ReplicationError> {
        self.send_query(command).await?;
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            match self.receive(ANSWER_TIME_MAX, command).await? {
                BackendMessage::DataRow(row) if rows.len() < ROWS_MAX => rows.push(row),
                BackendMessage::RowDescription(_) | BackendMessage::CommandComplete(_) => {}
                BackendMessage::ErrorResponse(error) => refused = Some(error),
                BackendMessage::ReadyForQuery(_) => {
                    return match refused {
                        None => Ok(rows),
                        Some(error) => Err(self.refused(command, error)),
                    };
                }
                other => return Err(self.unexpected(&other, command)),
            }
        }
    }

    async fn send_query(&mut self, command: &str) -> Result<(), ReplicationError> {
        encode_query(command, &mut self.out)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ReplicationError> {
        let sent = async {
            self.transport.write_all_buf(&mut self.out).await?;
            self.transport.flush().await
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, sent).await {
            Ok(sent) => sent.map_err(|source| ReplicationError::Io {
                endpoint: self.endpoint.clone(),
                source,
            }),
            Err(_) => Err(self.silent(ANSWER_TIME_MAX, "what we sent")),
        }
    }

    /// The next message that matters: notices are logged, changed settings passed over.
    async fn receive(
        &mut self,
        silence_max: Duration,
        waiting_for: &str,
    ) -> Result<BackendMessage, ReplicationError> {
        loop {
            while let Some(message) = self.decode()? {
                match message {
                    BackendMessage::NoticeResponse(notice) => {
                        tracing::warn!(server = %self.endpoint, %notice);
                    }
                    BackendMessage::ParameterStatus(_) | BackendMessage::Notification(_) => {}
                    other => return Ok(other),
                }
            }
            match tokio::time::timeout(silence_max, self.read_some()).await {
                Ok(read) => read?,
                Err(_) => return Err(self.silent(silence_max, waiting_for)),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<BackendMessage>, ReplicationError> {
        let endpoint = &self.endpoint;
        self.decoder
            .next_message()
            .map_err(|source| ReplicationError::Protocol {
                endpoint: endpoint.clone(),
                source,
            })
    }

    /// Reads once from the socket. Cancelling it loses nothing.
    async fn read_some(&mut self) -> Result<(), ReplicationError> {
        let mut room = self.decoder.read_buffer().limit(READ_BYTES);
        match self.transport.read_buf(&mut room).await {
            Ok(0) => Err(ReplicationError::Closed {
                endpoint: self.endpoint.clone(),
            }),
            Ok(_) => Ok(()),
            Err(source) => Err(ReplicationError::Io {
                endpoint: self.endpoint.clone(),
                source,
            }),
        }
    }

    fn refused(&self, command: &str, error: Box<Diagnostics>) -> ReplicationError {
        ReplicationError::Refused {
            endpoint: self.endpoint.clone(),
            command: command.to_owned(),
            source: error,
        }
    }

    fn unexpected(&self, message: &BackendMessage, command: &str) -> ReplicationError {
        match message {
            BackendMessage::ErrorResponse(error) => self.refused(command, error.clone()),
            other => ReplicationError::UnexpectedMessage {
                endpoint: self.endpoint.clone(),
                message: other.name(),
                command: command.to_owned(),
            },
        }
    }

    fn silent(&self, limit: Duration, waiting_for: &str) -> ReplicationError {
        ReplicationError::Silent {
            endpoint: self.endpoint.clone(),
            limit,
            waiting_for: waiting_for.to_owned(),
        }
    }
}

async fn open_at(
    conninfo: &Conninfo,
    endpoint: &Endpoint,
    peer: Option<Peer>,
) -> Result<ReplicationConnection, ReplicationError> {
    let transport = Transport::open(endpoint, &conninfo.ssl, peer).await?;
    let channel = match &transport {
        Transport::Tcp(_) => Channel::Open,
        Transport::Unix(_) => Channel::Local,
        Transport::Tls(_) => Channel::Tls {
            server_end_point: transport.server_end_point(),
        },
    };
    let password = conninfo
        .clone()
        .with_dbname(PASSFILE_DATABASE)
        .password_for(endpoint);
    let credentials = Credentials {
        user: conninfo.user.clone(),
        password: password.map(|password| password.reveal().to_owned()),
        channel,
    };
    let mut connection = ReplicationConnection {
        endpoint: endpoint.clone(),
        transport,
        decoder: Decoder::new(),
        out: BytesMut::new(),
    };
    let mut parameters = Vec::new();
    if let Some(name) = &conninfo.application_name {
        parameters.push(("application_name", name.as_str()));
    }
    if let Some(options) = &conninfo.options {
        parameters.push(("options", options.as_str()));
    }
    encode_startup(&conninfo.user, &parameters, &mut connection.out)?;
    connection.flush().await?;

    let mut login = Login::new(credentials);
    loop {
        let message = loop {
            match connection.decode()? {
                Some(message) => break message,
                None => connection.read_some().await?,
            }
        };
        let step = login
            .handle(message, &mut connection.out)
            .map_err(|source| ReplicationError::Login {
                endpoint: endpoint.clone(),
                user: conninfo.user.clone(),
                source,
            })?;
        match step {
            LoginStep::Wait => {}
            LoginStep::Send => connection.flush().await?,
            LoginStep::Done => return Ok(connection),
        }
    }
}
