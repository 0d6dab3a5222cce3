//! The door for operators' commands on this host: a Unix socket in the node's home.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use manada_herd::Home;
use tokio::net::{UnixListener, UnixStream};

use super::desk::{Asker, Desk};
use super::socket;
use crate::door::take_in;

/// How many commands may ask at once.
const CONNECTIONS_MAX: usize = 32;

/// How long a request's head may take, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// An open socket.
#[derive(Debug)]
pub(crate) struct ControlListener {
    socket: UnixListener,
}

/// Operators can't speak to the agent.
#[derive(Debug, thiserror::Error)]
#[error("listening for commands at {}: {source}", path.display())]
pub struct ControlListenError {
    path: PathBuf,
    source: io::Error,
}

impl ControlListener {
    /// Opens it. Only one agent of a node runs at a time, so a socket that is there is an earlier
    /// one's.
    pub(crate) fn bind(home: &Home) -> Result<ControlListener, ControlListenError> {
        let path = socket(home);
        let bound = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let socket = UnixListener::bind(&path)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(socket)
        };
        match bound() {
            Ok(socket) => Ok(ControlListener { socket }),
            Err(source) => Err(ControlListenError { path, source }),
        }
    }

    /// Answers, until it is dropped.
    pub(crate) async fn serve(self, desk: Desk) {
        let converse = |stream| converse(stream, desk.clone());
        take_in(&self.socket, CONNECTIONS_MAX, "commands", converse).await;
    }
}

async fn converse(stream: UnixStream, desk: Desk) {
    let service = service_fn(|request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(&Asker::Here, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a command's connection ended");
    }
}
