//! One HTTP/1.1 connection to a member of the cluster.

use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use manada_model::address::HostAddress;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::location::Endpoint;
use crate::store::REQUEST_MAX;

/// How long a member has to take a TCP connection before the next one is tried.
const CONNECT_MAX: Duration = Duration::from_millis(130);
const _: () = assert!(CONNECT_MAX.as_millis() * 3 <= REQUEST_MAX.as_millis());

/// A connection on which one request at a time is sent.
pub(super) struct Connection {
    endpoint: Endpoint,
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Connection {
    /// Connects to that member.
    pub(super) async fn open(
        endpoint: &Endpoint,
        tls: Option<&TlsConnector>,
    ) -> io::Result<Connection> {
        let tcp = timeout(CONNECT_MAX, dial(endpoint)).await??;
        tcp.set_nodelay(true)?;
        // What was not sent when the connection is given up shall not be sent later.
        tcp.set_zero_linger()?;
        match tls {
            None => Connection::over(endpoint, tcp).await,
            Some(tls) => {
                let tls = tls.connect(server_name(&endpoint.host)?, tcp).await?;
                Connection::over(endpoint, tls).await
            }
        }
    }

    async fn over<S>(endpoint: &Endpoint, stream: S) -> io::Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // Whoever sends on it is told of the error too.
            connection.await.ok();
        });
        Ok(Connection {
            endpoint: endpoint.clone(),
            sender,
            driver: driver.abort_handle(),
        })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether another request may be sent on it.
    pub(super) fn is_open(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }

    /// Sends a request. The error carries it if nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>> {
        self.sender.try_send_request(request).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn dial(endpoint: &Endpoint) -> io::Result<TcpStream> {
    match &endpoint.host {
        HostAddress::Ip(address) => TcpStream::connect((*address, endpoint.port)).await,
        HostAddress::Name(name) => TcpStream::connect((name.as_str(), endpoint.port)).await,
    }
}

fn server_name(host: &HostAddress) -> io::Result<ServerName<'static>> {
    match host {
        HostAddress::Ip(address) => Ok(ServerName::IpAddress((*address).into())),
        HostAddress::Name(name) => {
            ServerName::try_from(name.as_str().to_owned()).map_err(io::Error::other)
        }
    }
}
