//! A session with one server, for SQL.

use std::future::{Ready, ready};
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::conninfo::{Conninfo, Endpoint, SslParameters};
use crate::transport::{Peer, Transport, TransportError};

/// Why there is no session with a server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not even a stream.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server answered and refused: wrong password, no access rule, no such database,
    /// starting up, too many connections.
    #[error(
        "{endpoint} refused user {user:?} on database {database:?}: {}",
        server_message(source)
    )]
    Refused {
        /// The server.
        endpoint: Endpoint,
        /// The role.
        user: String,
        /// The database.
        database: String,
        /// The server's word.
        source: tokio_postgres::Error,
    },
    /// The time for an attempt ran out.
    #[error("{endpoint} did not answer within {} s", limit.as_secs_f32())]
    TimedOut {
        /// The server.
        endpoint: Endpoint,
        /// The time it was given.
        limit: std::time::Duration,
    },
}

/// What the server itself said, where it did; else what the client library says.
pub fn server_message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => match said.detail() {
            Some(detail) => format!("{} ({detail})", said.message()),
            None => said.message().to_owned(),
        },
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// An open session. It derefs to the SQL client; dropping it ends the session.
#[derive(Debug)]
pub struct Session {
    client: tokio_postgres::Client,
    endpoint: Endpoint,
    ssl: SslParameters,
    peer: Option<Peer>,
}

/// What can end a session's statement while it runs, a commit's wait for standbys too.
#[derive(Clone)]
pub struct Canceller {
    token: tokio_postgres::CancelToken,
    endpoint: Endpoint,
    ssl: SslParameters,
    peer: Option<Peer>,
}

/// The request to cancel did not reach the server.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// Not even a stream.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The stream broke.
    #[error("{endpoint} did not take the request to cancel: {source}")]
    Send {
        /// The server.
        endpoint: Endpoint,
        /// What broke.
        source: tokio_postgres::Error,
    },
}

impl Canceller {
    /// Asks the server to cancel what the session does now. The server does not say whether it did.
    /// The caller bounds the time.
    pub async fn cancel(&self) -> Result<(), CancelError> {
        let transport = Transport::open(&self.endpoint, &self.ssl, self.peer).await?;
        self.token
            .cancel_query_raw(Negotiated(transport), AlreadyNegotiated)
            .await
            .map_err(|source| CancelError::Send {
                endpoint: self.endpoint.clone(),
                source,
            })
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token holds the session's secret key.
        f.debug_struct("Canceller")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a session with the first endpoint that gives one. Each attempt is bounded by
    /// [`Conninfo::connect_timeout`]; the error is the last endpoint's.
    pub async fn open(conninfo: &Conninfo) -> Result<Session, ConnectError> {
        Session::open_as(conninfo, None).await
    }

    /// As [`Session::open`]; on a Unix socket, as the operating system's user `peer`.
    pub async fn open_as(conninfo: &Conninfo, peer: Option<Peer>) -> Result<Session, ConnectError> {
        let mut last = None;
        for endpoint in &conninfo.endpoints {
            let limit = conninfo.connect_timeout;
            let attempt = tokio::time::timeout(limit, open_at(conninfo, endpoint, peer)).await;
            match attempt {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => last = Some(error),
                Err(_) => {
                    last = Some(ConnectError::TimedOut {
                        endpoint: endpoint.clone(),
                        limit,
                    });
                }
            }
        }
        Err(last.expect("a connection has at least one endpoint"))
    }

    /// The server this session is with.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What can cancel this session's statements from outside.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            token: self.client.cancel_token(),
            endpoint: self.endpoint.clone(),
            ssl: self.ssl.clone(),
            peer: self.peer,
        }
    }

    /// The SQL client, for a transaction.
    pub fn client_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.client
    }
}

impl Deref for Session {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

async fn open_at(
    conninfo: &Conninfo,
    endpoint: &Endpoint,
    peer: Option<Peer>,
) -> Result<Session, ConnectError> {
    let transport = Transport::open(endpoint, &conninfo.ssl, peer).await?;
    let config = startup(conninfo, endpoint, &transport);
    let (client, connection) = config
        .connect_raw(Negotiated(transport), AlreadyNegotiated)
        .await
        .map_err(|source| ConnectError::Refused {
            endpoint: endpoint.clone(),
            user: conninfo.user.clone(),
            database: conninfo.database().to_owned(),
            source,
        })?;
    // The connection ends by itself once the client is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a session ended");
        }
    });
    Ok(Session {
        client,
        endpoint: endpoint.clone(),
        ssl: conninfo.ssl.clone(),
        peer,
    })
}

/// The startup parameters and the password for one endpoint.
fn startup(
    conninfo: &Conninfo,
    endpoint: &Endpoint,
    transport: &Transport,
) -> tokio_postgres::Config {
    use tokio_postgres::config::{SslMode, SslNegotiation};
    let mut config = tokio_postgres::Config::new();
    config.user(&conninfo.user).dbname(conninfo.database());
    if let Some(password) = conninfo.password_for(endpoint) {
        config.password(password.reveal());
    }
    if let Some(name) = &conninfo.application_name {
        config.application_name(name);
    }
    if let Some(options) = &conninfo.options {
        config.options(options);
    }
    match transport {
        // TLS is up already: "direct" makes the client library take the stream as it is and ask
        // it for its channel binding.
        Transport::Tls(_) => config
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct),
        Transport::Tcp(_) | Transport::Unix(_) => config.ssl_mode(SslMode::Disable),
    };
    config
}

/// A transport whose TLS, if any, is already up.
struct Negotiated(Transport);

struct AlreadyNegotiated;

impl TlsConnect<Negotiated> for AlreadyNegotiated {
    type Stream = Negotiated;
    type Error = io::Error;
    type Future = Ready<Result<Negotiated, io::Error>>;

    fn connect(self, stream: Negotiated) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Negotiated {
    fn channel_binding(&self) -> ChannelBinding {
        match self.0.server_end_point() {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Negotiated {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Negotiated {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
