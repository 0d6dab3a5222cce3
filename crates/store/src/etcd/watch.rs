//! Sees changes of a herd's keys: etcd sends them down a connection that stays open.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use manada_core::record::Revision;
use tokio::time::{sleep, timeout};

use super::client::{ANSWER_BYTES_MAX, Client};
use super::connection::Connection;
use super::gateway::{self, Keys, Told};
use super::read;
use crate::error::{Cause, Request, StoreError};
use crate::watch::{Unwatched, Watch, Watcher};

/// How long a watch may be silent before everything is read over a fresh connection: a leader
/// beats more often, so the silence is the leader's or the connection's.
const SILENCE_MAX: Duration = Duration::from_millis(700);
/// The pause before another watch.
const PAUSE: Duration = Duration::from_millis(50);

/// Why following stops.
enum Stop {
    /// Nobody watches.
    Unwatched,
    /// The store does not answer.
    Failed(StoreError),
}

pub(super) fn start(client: Arc<Client>, keys: Arc<Keys>) -> Watch {
    let (mut watcher, watch) = Watch::new();
    tokio::spawn(async move {
        let ended = watcher.ended();
        let followed = async {
            loop {
                match follow(&client, &keys, &mut watcher).await {
                    Ok(()) => {}
                    Err(Stop::Unwatched) => return,
                    Err(Stop::Failed(error)) => {
                        if watcher.tell_unreachable(error).await.is_err() {
                            return;
                        }
                    }
                }
                client.reconnect();
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = followed => {}
            () = ended => {}
        }
    });
    watch
}

/// Reads everything, and follows the changes from there until the watch ends or is silent.
async fn follow(client: &Client, keys: &Keys, watcher: &mut Watcher) -> Result<(), Stop> {
    let (mut snapshot, Revision(read_at)) = read(client, keys).await.map_err(Stop::Failed)?;
    watcher.tell(snapshot.clone()).await?;
    let asked = keys.watch(Revision(read_at + 1));
    let opened = client.stream(Request::Read, gateway::WATCH, asked).await;
    let (connection, body) = opened.map_err(Stop::Failed)?;
    let mut lines = Lines {
        _connection: connection,
        body,
        buffer: Vec::new(),
    };
    while let Ok(Some(line)) = timeout(SILENCE_MAX, lines.next()).await {
        let told = line.and_then(|line| gateway::told(&line));
        match told.map_err(unreadable)? {
            Told::Ended => return Ok(()),
            Told::Events(events) => {
                for event in events {
                    keys.apply(&mut snapshot, event).map_err(unreadable)?;
                }
                watcher.tell(snapshot.clone()).await?;
            }
        }
    }
    Ok(())
}

fn unreadable(cause: Cause) -> Stop {
    Stop::Failed(Request::Read.not_done(cause))
}

impl From<Unwatched> for Stop {
    fn from(_: Unwatched) -> Stop {
        Stop::Unwatched
    }
}

/// The lines of an answer that does not end.
struct Lines {
    /// Open as long as the answer is read.
    _connection: Connection,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when the connection has ended.
    async fn next(&mut self) -> Option<Result<Vec<u8>, Cause>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(at + 1);
                return Some(Ok(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                let max_bytes = ANSWER_BYTES_MAX;
                return Some(Err(Cause::TooLong { max_bytes }));
            }
            let frame = self.body.frame().await?.ok()?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}
