//! Asks an agent on this host.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use manada_core::input::Command;
use manada_model::NodeName;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ANSWER_BYTES_MAX, ANSWERED_WITHIN, Answer, COMMAND, JOURNAL, VIEW, View};
use crate::journal::Entry;

/// An agent did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no agent listens at {}", path.display())]
    NoAgent {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It takes too long.
    #[error("the agent has not answered within {} ms", ANSWERED_WITHIN.as_millis())]
    Silent,
    /// The conversation broke off.
    #[error("the agent's answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It says no.
    #[error("the agent answers {status}: {text}")]
    Status {
        /// HTTP's status.
        status: StatusCode,
        /// Its words.
        text: String,
    },
    /// It says something else.
    #[error("the agent's answer is not of this version")]
    Malformed(#[source] serde_json::Error),
}

/// What the agent at `socket` sees.
pub async fn view(socket: &Path) -> Result<View, ControlError> {
    ask(socket, Method::GET, VIEW, Bytes::new()).await
}

/// What another node's agent sees, asked through the one at `socket`.
pub async fn view_of(socket: &Path, node: &NodeName) -> Result<View, ControlError> {
    let path = format!("{VIEW}?of={node}");
    ask(socket, Method::GET, &path, Bytes::new()).await
}

/// What another node's agent, or this one, has written down, the oldest first.
pub async fn journal_of(socket: &Path, node: &NodeName) -> Result<Vec<Entry>, ControlError> {
    let path = format!("{JOURNAL}?of={node}");
    ask(socket, Method::GET, &path, Bytes::new()).await
}

/// Gives the agent at `socket` a command. It passes on what is for the leader.
pub async fn command(socket: &Path, command: &Command) -> Result<Answer, ControlError> {
    let body = serde_json::to_vec(command).expect("own types have string keys");
    ask(socket, Method::POST, COMMAND, body.into()).await
}

async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, ControlError> {
    let answered = timeout(ANSWERED_WITHIN, exchange(socket, method, path, body));
    let (status, body) = answered.await.map_err(|_| ControlError::Silent)??;
    if status != StatusCode::OK {
        return Err(ControlError::Status {
            status,
            text: String::from_utf8_lossy(&body).into_owned(),
        });
    }
    serde_json::from_slice(&body).map_err(ControlError::Malformed)
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), ControlError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| ControlError::NoAgent {
            path: socket.to_owned(),
            source,
        })?;
    let broken = |error: hyper::Error| ControlError::Broken(error.into());
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "agent")
        .body(Full::new(body))
        .expect("paths are of ours and of names");
    let talk = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = body.await.map_err(ControlError::Broken)?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(talk);
    // The connection is driven here, so that nothing of it stays when the time is over.
    tokio::select! {
        answer = &mut talk => answer,
        ended = connection => {
            ended.map_err(broken)?;
            talk.await
        }
    }
}
