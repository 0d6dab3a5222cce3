//! Messages on their way out: a queue for each peer, so that a dead one holds up nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, StatusCode};
use manada_core::message::Message;
use manada_core::timer::Moment;
use manada_model::NodeName;
use tokio::sync::{mpsc, watch};

use super::connect::{ConnectError, connect};
use super::identity::Identity;
use super::{Book, Letter, MESSAGES};
use crate::clock;

/// How many messages wait for one peer. One that does not fit is dropped: whoever needs an answer
/// asks again.
const WAITING_MAX: usize = 32;

/// How long a message may take, the connection included.
const DELIVERED_WITHIN: Duration = Duration::from_millis(800);

/// A message that has waited for longer is not sent any more.
const STALE_AFTER: Duration = Duration::from_secs(2);

/// The way out, from one node to all others.
#[derive(Debug)]
pub struct Outbox {
    own_name: NodeName,
    identity: Identity,
    book: watch::Receiver<Book>,
    queues: BTreeMap<NodeName, mpsc::Sender<Queued>>,
}

#[derive(Debug)]
struct Queued {
    message: Message,
    since: Moment,
}

impl Outbox {
    /// Sends as the node `own_name`, to the addresses that the book has at the time.
    pub fn new(own_name: NodeName, identity: Identity, book: watch::Receiver<Book>) -> Outbox {
        Outbox {
            own_name,
            identity,
            book,
            queues: BTreeMap::new(),
        }
    }

    /// Puts a message on its way. What becomes of it is not told.
    pub fn send(&mut self, to: &NodeName, message: Message) {
        let queue = self.queues.entry(to.clone()).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(WAITING_MAX);
            let line = Line {
                from: self.own_name.clone(),
                to: to.clone(),
                identity: self.identity.clone(),
                book: self.book.clone(),
                open: None,
            };
            tokio::spawn(line.deliver(waiting));
            queue
        });
        let since = clock::now();
        if queue.try_send(Queued { message, since }).is_err() {
            tracing::debug!(%to, "too many messages wait: one is dropped");
        }
    }
}

/// The line to one peer.
struct Line {
    from: NodeName,
    to: NodeName,
    identity: Identity,
    book: watch::Receiver<Book>,
    open: Option<SendRequest<Full<Bytes>>>,
}

#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("it answered {0}")]
    Answered(StatusCode),
}

impl Line {
    async fn deliver(mut self, mut waiting: mpsc::Receiver<Queued>) {
        while let Some(Queued { message, since }) = waiting.recv().await {
            if clock::since(since) > STALE_AFTER {
                continue;
            }
            let letter = Letter {
                from: self.from.clone(),
                message,
            };
            let body = serde_json::to_vec(&letter).expect("own types have string keys");
            let delivered = tokio::time::timeout(DELIVERED_WITHIN, self.post(body.into())).await;
            match delivered {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.open = None;
                    tracing::debug!(to = %self.to, %error, "a message was not delivered");
                }
                Err(_) => {
                    self.open = None;
                    tracing::debug!(to = %self.to, "a message was not delivered in time");
                }
            }
        }
    }

    /// Over the connection that is open, or, where it has ended meanwhile, over a new one.
    async fn post(&mut self, body: Bytes) -> Result<(), DeliveryError> {
        if let Some(mut open) = self.open.take()
            && open.ready().await.is_ok()
            && let Ok(answer) = open.send_request(request(body.clone())).await
        {
            return self.answered(open, answer.status());
        }
        let contact = self.book.borrow().get(&self.to).cloned();
        let mut open = connect(&self.identity, contact.as_ref()).await?;
        let answer = open.send_request(request(body)).await?;
        self.answered(open, answer.status())
    }

    fn answered(
        &mut self,
        open: SendRequest<Full<Bytes>>,
        status: StatusCode,
    ) -> Result<(), DeliveryError> {
        if status != StatusCode::NO_CONTENT {
            return Err(DeliveryError::Answered(status));
        }
        self.open = Some(open);
        Ok(())
    }
}

fn request(body: Bytes) -> Request<Full<Bytes>> {
    Request::post(MESSAGES)
        .header(hyper::header::HOST, "agent")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("its parts are constant")
}
