//! The byte stream to one server: TCP or a Unix socket, under TLS where it is asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::conninfo::{Endpoint, Host, SslMode, SslParameters};
use crate::tls::{self, TlsSetupError};

/// Why there is no stream to a server.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing answers at this address.
    #[error("connecting to {endpoint}: {source}")]
    Connect {
        /// The server.
        endpoint: Endpoint,
        /// The operating system's word.
        source: io::Error,
    },
    /// TLS is demanded and the server has none.
    #[error("{endpoint} does not offer TLS, and sslmode demands it")]
    NoTls {
        /// The server.
        endpoint: Endpoint,
    },
    /// The handshake broke, or the certificate does not prove what it should.
    #[error("TLS with {endpoint}: {source}")]
    Handshake {
        /// The server.
        endpoint: Endpoint,
        /// What rustls or the socket said.
        source: io::Error,
    },
    /// The answer to the request for TLS is none that PostgreSQL gives.
    #[error("{endpoint} does not speak PostgreSQL's protocol")]
    NotPostgres {
        /// The server.
        endpoint: Endpoint,
    },
    /// The TLS parameters themselves are not usable.
    #[error(transparent)]
    Setup(#[from] TlsSetupError),
}

/// The identity to appear as on a Unix socket, for `peer` authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user's id.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
}

/// A connected stream, before PostgreSQL's startup message.
#[derive(Debug)]
pub enum Transport {
    /// TCP without TLS.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TCP under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// PostgreSQL's `SSLRequest`: the length, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

impl Transport {
    /// Connects to one endpoint. The caller bounds the time.
    ///
    /// On a Unix socket, `peer` is the operating system's user to appear as (for `peer`
    /// authentication), which needs root.
    pub async fn open(
        endpoint: &Endpoint,
        ssl: &SslParameters,
        peer: Option<Peer>,
    ) -> Result<Transport, TransportError> {
        let connect_error = |source| TransportError::Connect {
            endpoint: endpoint.clone(),
            source,
        };
        let name = match &endpoint.host {
            Host::Unix(directory) => {
                let path = Endpoint::socket_path(directory, endpoint.port);
                let stream = connect_unix(path, peer).await.map_err(connect_error)?;
                return Ok(Transport::Unix(stream));
            }
            Host::Tcp(name) => name,
        };
        let stream = match endpoint.hostaddr {
            Some(address) => TcpStream::connect((address, endpoint.port)).await,
            None => TcpStream::connect((name.as_str(), endpoint.port)).await,
        }
        .map_err(connect_error)?;
        stream.set_nodelay(true).map_err(connect_error)?;
        match tls::client_config(ssl)? {
            None => Ok(Transport::Tcp(stream)),
            Some(config) => negotiate(stream, name, endpoint, ssl.mode, config).await,
        }
    }

    /// The channel binding data `tls-server-end-point`, where the stream is under TLS and the
    /// certificate's signature has such a hash.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Transport::Tcp(_) | Transport::Unix(_) => None,
            Transport::Tls(stream) => {
                let (_, session) = stream.get_ref();
                tls::server_end_point(session.peer_certificates()?.first()?)
            }
        }
    }

    /// The certificates the server sent, its own first, in DER; empty without TLS.
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match self {
            Transport::Tcp(_) | Transport::Unix(_) => Vec::new(),
            Transport::Tls(stream) => {
                let (_, session) = stream.get_ref();
                let certificates = session.peer_certificates().unwrap_or_default();
                certificates
                    .iter()
                    .map(|certificate| certificate.to_vec())
                    .collect()
            }
        }
    }
}

async fn negotiate(
    mut stream: TcpStream,
    name: &str,
    endpoint: &Endpoint,
    mode: SslMode,
    config: rustls::ClientConfig,
) -> Result<Transport, TransportError> {
    let handshake_error = |source| TransportError::Handshake {
        endpoint: endpoint.clone(),
        source,
    };
    stream
        .write_all(&SSL_REQUEST)
        .await
        .map_err(handshake_error)?;
    let mut answer = [0];
    stream
        .read_exact(&mut answer)
        .await
        .map_err(handshake_error)?;
    match answer {
        [b'S'] => {}
        [b'N'] if mode == SslMode::Prefer => return Ok(Transport::Tcp(stream)),
        [b'N'] => {
            return Err(TransportError::NoTls {
                endpoint: endpoint.clone(),
            });
        }
        _ => {
            return Err(TransportError::NotPostgres {
                endpoint: endpoint.clone(),
            });
        }
    }
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|error| handshake_error(io::Error::other(error)))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(server_name, stream)
        .await
        .map_err(handshake_error)?;
    Ok(Transport::Tls(Box::new(stream)))
}

/// Connects as `peer`: the kernel notes the effective user of the *thread* that connects, so a
/// thread of its own takes that identity for the moment and ends with it.
async fn connect_unix(path: std::path::PathBuf, peer: Option<Peer>) -> io::Result<UnixStream> {
    let Some(user) = peer.filter(|user| user.uid != rustix::process::geteuid().as_raw()) else {
        return UnixStream::connect(path).await;
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("peer-connect".to_owned())
        .spawn(move || {
            let connected =
                take_identity(user).and_then(|()| std::os::unix::net::UnixStream::connect(&path));
            // The receiver is gone only where the caller's time ran out.
            let _ = sender.send(connected);
        })?;
    let stream = receiver.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn take_identity(user: Peer) -> io::Result<()> {
    let gid = rustix::process::Gid::from_raw(user.gid);
    let uid = rustix::process::Uid::from_raw(user.uid);
    rustix::thread::set_thread_groups(&[gid])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
