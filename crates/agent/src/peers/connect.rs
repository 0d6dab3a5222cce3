//! A connection to another node's agent: TLS, and a certificate that names that node.

use std::io;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use manada_model::NodeName;
use manada_store::Contact;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

use super::identity::{Identity, node_named};

/// No way to another node's agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the book has no address of it")]
    NoAddress,
    #[error("connecting: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("its certificate names {named:?}")]
    SomebodyElse { named: Option<NodeName> },
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// Connects to the agent that the book's entry is about.
pub(crate) async fn connect(
    identity: &Identity,
    contact: Option<&Contact>,
) -> Result<SendRequest<Full<Bytes>>, ConnectError> {
    let contact = contact.ok_or(ConnectError::NoAddress)?;
    let address = contact.addresses.first().ok_or(ConnectError::NoAddress)?;
    let host = address.to_string();
    let stream = TcpStream::connect((host.as_str(), contact.agent_port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host)?;
    let stream = identity.connector.connect(name, stream).await?;
    let named = node_named(stream.get_ref().1.peer_certificates());
    if named.as_ref() != Some(&contact.name) {
        return Err(ConnectError::SomebodyElse { named });
    }
    let (open, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when `open` is dropped or the peer hangs up.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a peer broke");
        }
    });
    Ok(open)
}
