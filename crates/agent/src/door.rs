//! Taking in connections, no more at a time than there are places.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How long the pause is when no connection can be accepted, as when files have run out.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Where connections come in.
pub(crate) trait Door {
    /// A connection.
    type Stream: Send + 'static;

    /// The next one.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(TcpListener::accept(self).await?.0)
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(UnixListener::accept(self).await?.0)
    }
}

/// Converses with all who come, each in a task of its own, until it is dropped. Who comes when all
/// `places` are taken waits. `from` says in the log whose connections they are.
pub(crate) async fn take_in<D: Door, C>(
    door: &D,
    places: usize,
    from: &'static str,
    converse: impl Fn(D::Stream) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(places));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let conversation = converse(next(door, from).await);
        tokio::spawn(async move {
            let _place = place;
            conversation.await;
        });
    }
}

/// The same for conversations of which each is over in a moment: where all `places` are taken, the
/// oldest connection is ended, since it has asked nothing yet, or has its answer.
pub(crate) async fn take_in_newest<D: Door, C>(
    door: &D,
    places: usize,
    from: &'static str,
    converse: impl Fn(D::Stream) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        let stream = next(door, from).await;
        open.retain(|conversation| !conversation.is_finished());
        if open.len() >= places
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(converse(stream)));
    }
}

/// The next connection that can be accepted.
async fn next<D: Door>(door: &D, from: &'static str) -> D::Stream {
    loop {
        match door.accept().await {
            Ok(stream) => return stream,
            Err(error) => {
                tracing::warn!(%error, from, "no connection can be accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}
