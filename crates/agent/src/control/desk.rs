//! Answers operators: with what the daemon last said of itself, or by asking another agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use manada_core::input::Command;
use manada_model::NodeName;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::{
    ANSWER_BYTES_MAX, ANSWERED_WITHIN, Answer, COMMAND, JOURNAL, JOURNAL_LINES_MAX, LeaseAge, VIEW,
    View,
};
use crate::clock;
use crate::glance::{Glance, Who};
use crate::journal;
use crate::peers::{Book, Identity, Received, connect};

/// The longest command that is read, in bytes: a policy with a thousand names has 50 000.
const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// How long a command's text may take to come.
const COMMAND_WITHIN: Duration = Duration::from_secs(1);

/// How long the core may take to say whether it takes a command.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);

/// How long another agent may take.
const PASSED_ON_WITHIN: Duration = Duration::from_millis(1200);
const _: () = assert!(TAKEN_WITHIN.as_millis() < PASSED_ON_WITHIN.as_millis());
const _: () = assert!(PASSED_ON_WITHIN.as_millis() < ANSWERED_WITHIN.as_millis());

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    /// A command on this host: what is for another agent is passed on to it.
    Here,
    /// Another agent.
    Peer(NodeName),
}

/// Where operators' questions are answered.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) who: Arc<Who>,
    /// Where the store is, for people.
    pub(crate) store: String,
    /// Where the journal is.
    pub(crate) directory: PathBuf,
    pub(crate) glance: watch::Receiver<Arc<Glance>>,
    pub(crate) book: watch::Receiver<Book>,
    pub(crate) received: mpsc::Sender<Received>,
    pub(crate) identity: Identity,
}

impl Desk {
    /// Answers one request.
    pub(crate) async fn answer(
        &self,
        asker: &Asker,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let of = request
            .uri()
            .query()
            .and_then(|query| query.strip_prefix("of="));
        let of: Option<NodeName> = of.and_then(|name| name.parse().ok());
        let other = of.filter(|name| *name != self.who.node);
        match (request.method(), path.as_str(), other, asker) {
            (&Method::GET, VIEW | JOURNAL, Some(other), Asker::Here) => {
                let sent = AtomicBool::default();
                let asked = self.pass_on(&other, Method::GET, &path, Bytes::new(), &sent);
                match asked.await {
                    Ok(body) => of_json(body),
                    Err(reason) => refusal(StatusCode::BAD_GATEWAY, reason),
                }
            }
            (&Method::GET, VIEW, None, _) => json(&self.view()),
            (&Method::GET, JOURNAL, None, _) => self.journal().await,
            (&Method::POST, COMMAND, _, _) => {
                let body = Limited::new(request.into_body(), COMMAND_BYTES_MAX).collect();
                let Ok(Ok(body)) = timeout(COMMAND_WITHIN, body).await else {
                    return refusal(StatusCode::BAD_REQUEST, "the command did not come whole");
                };
                let body = body.to_bytes();
                match serde_json::from_slice(&body) {
                    Ok(command) => json(&self.take(asker, command, body).await),
                    Err(error) => refusal(StatusCode::BAD_REQUEST, error),
                }
            }
            _ => refusal(StatusCode::NOT_FOUND, "no such question"),
        }
    }

    fn view(&self) -> View {
        let glance = Arc::clone(&self.glance.borrow());
        View {
            herd: self.who.herd.clone(),
            node: self.who.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            standing: glance.standing.clone(),
            obstacles: glance.obstacles.clone(),
            record: glance.record.clone(),
            lease: glance.lease.as_ref().map(|(lease, since)| LeaseAge {
                lease: lease.clone(),
                age_ms: u64::try_from(clock::since(*since).as_millis()).unwrap_or(u64::MAX),
            }),
            store: self.store.clone(),
            store_state: glance.store,
            lost: glance.lost.clone(),
            promised: glance.promised,
            confirmed: glance.confirmed,
            remembered: glance.remembered.clone(),
            server: glance.facts().cloned(),
            book: self.book.borrow().clone(),
        }
    }

    async fn journal(&self) -> Response<Full<Bytes>> {
        let directory = self.directory.clone();
        let read =
            tokio::task::spawn_blocking(move || journal::read(&directory, JOURNAL_LINES_MAX));
        match read.await {
            Ok(Ok(entries)) => json(&entries),
            Ok(Err(error)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error),
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }

    async fn take(&self, asker: &Asker, command: Command, body: Bytes) -> Answer {
        let from = match asker {
            Asker::Here => self.who.node.clone(),
            Asker::Peer(peer) => peer.clone(),
        };
        if is_for_the_leader(&command) && matches!(asker, Asker::Here) {
            let glance = Arc::clone(&self.glance.borrow());
            let record = glance.record.as_ref();
            match record.and_then(|record| record.value.leader.clone()) {
                None => return Answer::NoLeader,
                Some(leader) if leader != self.who.node => {
                    return self.take_to(leader, body).await;
                }
                Some(_) => {}
            }
        }
        let (answer, mut answered) = oneshot::channel();
        let command = Received::Command {
            from,
            command,
            answer,
        };
        if self.received.try_send(command).is_err() {
            return Answer::Busy;
        }
        let by = self.who.node.clone();
        let in_time = timeout(TAKEN_WITHIN, &mut answered).await;
        let answered = match in_time {
            Ok(answer) => answer.ok(),
            // From here on it is not taken any more.
            Err(_) => {
                answered.close();
                answered.try_recv().ok()
            }
        };
        match answered {
            Some(None) => Answer::Taken { by },
            Some(Some(obstacle)) => Answer::Refused { by, obstacle },
            None => Answer::Busy,
        }
    }

    async fn take_to(&self, leader: NodeName, body: Bytes) -> Answer {
        let sent = AtomicBool::new(false);
        let answer = self
            .pass_on(&leader, Method::POST, COMMAND, body, &sent)
            .await;
        let answer = answer
            .and_then(|body| serde_json::from_slice(&body).map_err(|error| error.to_string()));
        answer.unwrap_or_else(|reason| Answer::LeaderUnreachable {
            leader,
            reason,
            sent: sent.load(Ordering::Relaxed),
        })
    }

    /// Asks another node's agent, and returns its answer or why there is none; `sent` is set when
    /// it may have heard the question all the same.
    async fn pass_on(
        &self,
        to: &NodeName,
        method: Method,
        path: &str,
        body: Bytes,
        sent: &AtomicBool,
    ) -> Result<Bytes, String> {
        let contact = self.book.borrow().get(to).cloned();
        let asked = async {
            let connected = connect(&self.identity, contact.as_ref()).await;
            let mut open = connected.map_err(|error| error.to_string())?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(HOST, "agent")
                .body(Full::new(body))
                .expect("its parts are constant");
            sent.store(true, Ordering::Relaxed);
            let response = open.send_request(request).await;
            let response = response.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
            let body = body.await.map_err(|error| error.to_string())?.to_bytes();
            if status == StatusCode::OK {
                Ok(body)
            } else {
                Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
            }
        };
        timeout(PASSED_ON_WITHIN, asked).await.unwrap_or_else(|_| {
            Err(format!(
                "no answer within {} ms",
                PASSED_ON_WITHIN.as_millis()
            ))
        })
    }
}

/// Whether only the leader can do it.
fn is_for_the_leader(command: &Command) -> bool {
    match command {
        Command::Switchover { .. } => true,
        Command::Failover { .. }
        | Command::Pause
        | Command::Resume
        | Command::SetPolicy(_)
        | Command::Admit { .. }
        | Command::Forget { .. }
        | Command::AgentRestarts => false,
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    of_json(
        serde_json::to_vec(value)
            .expect("own types have string keys")
            .into(),
    )
}

fn of_json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn refusal(status: StatusCode, reason: impl std::fmt::Display) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reason.to_string())));
    *response.status_mut() = status;
    response
}
