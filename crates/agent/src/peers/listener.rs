//! The door for the other agents, and for operators who bear a node's certificate.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use manada_core::input::Command;
use manada_core::message::Message;
use manada_core::obstacle::Obstacle;
use manada_model::NodeName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::identity::node_named;
use super::{Letter, MESSAGE_BYTES_MAX, MESSAGES};
use crate::control::{Asker, Desk};
use crate::door::take_in;

/// How many connections may be open at once.
const CONNECTIONS_MAX: usize = 64;

/// How long a peer may take to prove who it is.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(2);

/// How long a request's head may take, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// How long a request's body may take.
const BODY_WITHIN: Duration = Duration::from_secs(2);

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// From another node's core.
    Message {
        /// Who: its certificate says so.
        from: NodeName,
        /// What.
        message: Message,
    },
    /// From an operator, who bears the certificate of that node.
    Command {
        /// On which host.
        from: NodeName,
        /// What.
        command: Command,
        /// Told whether it was taken: `None`, or why not.
        answer: oneshot::Sender<Option<Obstacle>>,
    },
}

/// No agent can reach this one.
#[derive(Debug, thiserror::Error)]
#[error("listening for the other agents at {address}: {source}")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// An open port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Opens the port.
    pub async fn bind(address: SocketAddr) -> Result<Listener, ListenError> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError { address, source })?;
        Ok(Listener { socket })
    }

    /// Takes in what comes, for as long as somebody receives it.
    pub(crate) async fn serve(self, desk: Desk) {
        let converse = |stream| {
            let desk = desk.clone();
            async move {
                if let Err(error) = converse(stream, desk).await {
                    tracing::debug!(%error, "a connection of a peer ended");
                }
            }
        };
        tokio::select! {
            () = take_in(&self.socket, CONNECTIONS_MAX, "peers", converse) => {}
            () = desk.received.closed() => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConversationError {
    #[error("no TLS: {0}")]
    Handshake(#[from] io::Error),
    #[error("no TLS within {} s", HANDSHAKE_WITHIN.as_secs())]
    Late,
    #[error("the certificate names no node")]
    Nobody,
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

async fn converse(stream: TcpStream, desk: Desk) -> Result<(), ConversationError> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_WITHIN, desk.identity.acceptor.accept(stream))
        .await
        .map_err(|_| ConversationError::Late)??;
    let peer =
        node_named(stream.get_ref().1.peer_certificates()).ok_or(ConversationError::Nobody)?;
    let service = service_fn(|request| {
        let (peer, desk) = (peer.clone(), desk.clone());
        async move {
            Ok::<_, Infallible>(if request.uri().path() == MESSAGES {
                take(request, peer, &desk.received).await
            } else {
                desk.answer(&Asker::Peer(peer), request).await
            })
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

/// Takes one message in.
async fn take(
    request: Request<Incoming>,
    peer: NodeName,
    received: &mpsc::Sender<Received>,
) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let body = Limited::new(request.into_body(), MESSAGE_BYTES_MAX).collect();
    let body = match tokio::time::timeout(BODY_WITHIN, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return empty(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return empty(StatusCode::REQUEST_TIMEOUT),
    };
    let taken = match serde_json::from_slice::<Letter>(&body) {
        Ok(letter) if letter.from == peer => Received::Message {
            from: peer,
            message: letter.message,
        },
        Ok(_) => return empty(StatusCode::FORBIDDEN),
        Err(_) => return empty(StatusCode::BAD_REQUEST),
    };
    // A full queue means a core that has stalled: whoever asks must try another time.
    match received.try_send(taken) {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
