//! The door for operators' commands on this host: a Unix socket in the node's home.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use manada_herd::Home;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::desk::{Asker, Desk};
use super::socket;

/// How many commands may ask at once.
const CONNECTIONS_MAX: usize = 32;

/// How long a request's head may take, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long the pause is when no connection can be accepted, as when files have run out.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

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
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    let desk = desk.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        converse(stream, desk).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no command can be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
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
