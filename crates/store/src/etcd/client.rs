//! Requests to a cluster: over which connection, to which member, with which token.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::{gateway, tls};
use crate::access::{Access, AccessError, Login, Password};
use crate::error::{Cause, Effect, Request, StoreError};
use crate::location::Endpoint;
use crate::store::REQUEST_MAX;

/// The longest answer that is read: a herd of a thousand nodes has less than half of it.
pub(super) const ANSWER_BYTES_MAX: usize = 2 << 20;
/// How much of a refusal's words is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 200;
/// How many connections are kept for the next request.
const IDLE_MAX: usize = 2;

/// What requests to a cluster have in common.
pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    tls: Option<TlsConnector>,
    login: Option<(Login, Mutex<Password>)>,
    /// The member that is asked first; another one after a failure.
    preferred: AtomicUsize,
    /// A request takes a connection out, so that none waits for another that hangs.
    idle: Mutex<Vec<Connection>>,
    token: Mutex<Option<String>>,
}

/// Whether anything of the request has been sent.
#[derive(Default)]
struct Sent(AtomicBool);

impl Client {
    pub(super) fn new(
        tls: bool,
        endpoints: &[Endpoint],
        access: &Access,
    ) -> Result<Client, AccessError> {
        let login = access.login.as_ref().map(|login| {
            let password = Password::read(&login.password_file);
            password.map(|password| (login.clone(), Mutex::new(password)))
        });
        Ok(Client {
            endpoints: endpoints.to_vec(),
            tls: tls.then(|| tls::connector(access)).transpose()?,
            login: login.transpose()?,
            preferred: AtomicUsize::new(0),
            idle: Mutex::new(Vec::new()),
            token: Mutex::new(None),
        })
    }

    /// Asks for something, and reads the answer.
    pub(super) async fn call(
        &self,
        request: Request,
        path: &'static str,
        body: Value,
    ) -> Result<Bytes, StoreError> {
        let sent = Sent::default();
        let asked = async {
            let (connection, response) = self.ask(path, &body, &sent).await?;
            self.answer(connection, response).await
        };
        self.bounded(request, &sent, asked).await
    }

    /// Asks for something whose answer does not end.
    pub(super) async fn stream(
        &self,
        request: Request,
        path: &'static str,
        body: Value,
    ) -> Result<(Connection, Incoming), StoreError> {
        let sent = Sent::default();
        let asked = async {
            let (connection, response) = self.ask(path, &body, &sent).await?;
            Ok((connection, response.into_body()))
        };
        self.bounded(request, &sent, asked).await
    }

    /// All members.
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Asks that very member for something, over a connection of its own.
    pub(super) async fn call_member(
        &self,
        endpoint: &Endpoint,
        request: Request,
        path: &'static str,
        body: Value,
    ) -> Result<Bytes, StoreError> {
        let sent = Sent::default();
        let asked = async {
            let opened = Connection::open(endpoint, self.tls.as_ref()).await;
            let connection = opened.map_err(|error| Cause::Unreachable {
                endpoint: endpoint.clone(),
                error,
            })?;
            let token = locked(&self.token).clone();
            let body = Bytes::from(body.to_string());
            let (connection, response) = self
                .send(connection, path, body, token.as_deref(), &sent)
                .await?;
            read(&connection, response).await
        };
        // What is wrong with that member says nothing of the preferred one.
        in_time(request, &sent, asked).await
    }

    /// Takes no connection again that was opened before: they may all hang.
    pub(super) fn reconnect(&self) {
        locked(&self.idle).clear();
    }

    async fn bounded<T>(
        &self,
        request: Request,
        sent: &Sent,
        asked: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, StoreError> {
        let outcome = in_time(request, sent, asked).await;
        if let Err(error) = &outcome
            && is_the_members(&error.cause)
        {
            self.preferred.fetch_add(1, Ordering::Relaxed);
            self.reconnect();
        }
        outcome
    }

    /// Sends with a valid token, and returns an answer that is no refusal.
    async fn ask(
        &self,
        path: &'static str,
        body: &Value,
        sent: &Sent,
    ) -> Result<(Connection, Response<Incoming>), Cause> {
        let Some((login, password)) = &self.login else {
            return self.exchange(path, body, None, sent).await;
        };
        let known = locked(&self.token).clone();
        if let Some(token) = known {
            match self.exchange(path, body, Some(&token), sent).await {
                // Tokens end by their age, and by changes of etcd's users.
                Err(Cause::Refused { code: 3 | 16, .. }) => {
                    *locked(&self.token) = None;
                }
                other => return other,
            }
        }
        sent.forget();
        // It may have been changed, there and here, since the last login.
        match Password::read(&login.password_file) {
            Ok(now) => *locked(password) = now,
            Err(error) => tracing::warn!(%error, "the store's password is the one of before"),
        }
        let login = gateway::authenticate(&login.user, locked(password).reveal());
        let of_login = Sent::default();
        let (connection, response) = self
            .exchange(gateway::AUTHENTICATE, &login, None, &of_login)
            .await?;
        let token = gateway::token(&self.answer(connection, response).await?)?;
        *locked(&self.token) = Some(token.clone());
        self.exchange(path, body, Some(&token), sent).await
    }

    async fn exchange(
        &self,
        path: &'static str,
        body: &Value,
        token: Option<&str>,
        sent: &Sent,
    ) -> Result<(Connection, Response<Incoming>), Cause> {
        let body = Bytes::from(body.to_string());
        while let Some(mut connection) = self.take_idle() {
            let message = message(connection.endpoint(), path, body.clone(), token);
            sent.note();
            match connection.send(message).await {
                Ok(response) => return self.accept(connection, response).await,
                // It was closed by the other side while nobody looked.
                Err(unsent) if unsent.message().is_some() => sent.forget(),
                Err(failed) => {
                    return Err(Cause::Broken {
                        endpoint: connection.endpoint().clone(),
                        error: failed.into_error(),
                    });
                }
            }
        }
        let connection = self.connect().await?;
        self.send(connection, path, body, token, sent).await
    }

    /// Sends over a connection that was just opened.
    async fn send(
        &self,
        mut connection: Connection,
        path: &'static str,
        body: Bytes,
        token: Option<&str>,
        sent: &Sent,
    ) -> Result<(Connection, Response<Incoming>), Cause> {
        let message = message(connection.endpoint(), path, body, token);
        sent.note();
        match connection.send(message).await {
            Ok(response) => self.accept(connection, response).await,
            Err(failed) => Err(Cause::Broken {
                endpoint: connection.endpoint().clone(),
                error: failed.into_error(),
            }),
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = locked(&self.idle);
        while let Some(connection) = idle.pop() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    /// Connects to the preferred member, or to the first after it that takes the connection.
    async fn connect(&self) -> Result<Connection, Cause> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut tried = 0;
        loop {
            let endpoint = &self.endpoints[(first + tried) % self.endpoints.len()];
            tried += 1;
            match Connection::open(endpoint, self.tls.as_ref()).await {
                Ok(connection) => {
                    self.preferred.fetch_add(tried - 1, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) if tried == self.endpoints.len() => {
                    let endpoint = endpoint.clone();
                    return Err(Cause::Unreachable { endpoint, error });
                }
                Err(error) => tracing::debug!(%endpoint, %error, "the store's member is skipped"),
            }
        }
    }

    async fn accept(
        &self,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Result<(Connection, Response<Incoming>), Cause> {
        if response.status() == StatusCode::OK {
            return Ok((connection, response));
        }
        let endpoint = connection.endpoint().clone();
        let refusal = gateway::refusal(&self.answer(connection, response).await?);
        Err(Cause::Refused {
            endpoint,
            code: refusal.code,
            message: refusal.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        })
    }

    /// Reads the answer to its end, and keeps the connection.
    async fn answer(
        &self,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Result<Bytes, Cause> {
        let bytes = read(&connection, response).await?;
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(bytes)
    }
}

impl Sent {
    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Gives a request the time that it has, and says what became of one that failed.
async fn in_time<T>(
    request: Request,
    sent: &Sent,
    asked: impl Future<Output = Result<T, Cause>>,
) -> Result<T, StoreError> {
    let outcome = timeout(REQUEST_MAX, asked).await;
    let outcome = outcome.unwrap_or(Err(Cause::TimedOut));
    outcome.map_err(|cause| match effect(&cause, sent) {
        Effect::NotDone => request.not_done(cause),
        Effect::Unknown => request.in_doubt(cause),
    })
}

/// Reads an answer to its end.
async fn read(connection: &Connection, response: Response<Incoming>) -> Result<Bytes, Cause> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Cause::TooLong {
            max_bytes: ANSWER_BYTES_MAX,
        }),
        Err(error) => Err(Cause::AnswerBroke {
            endpoint: connection.endpoint().clone(),
            error,
        }),
    }
}

/// Whether the request may have been, or may yet be, carried out.
fn effect(cause: &Cause, sent: &Sent) -> Effect {
    match cause {
        // A refusal is definite where gRPC says that the request was looked at and not carried
        // out: invalid (3), not found (5), exists (6), forbidden (7), no room (8), not in this
        // state (9), out of range (11), unheard of (12), not logged in (16).
        Cause::Refused {
            code: 3 | 5..=9 | 11 | 12 | 16,
            ..
        } => Effect::NotDone,
        _ if sent.get() => Effect::Unknown,
        _ => Effect::NotDone,
    }
}

/// Whether another member may do better.
fn is_the_members(cause: &Cause) -> bool {
    /// gRPC's code for a member that can't serve: it has no leader, or is about to end.
    const UNAVAILABLE: u32 = 14;
    match cause {
        Cause::TimedOut
        | Cause::Unreachable { .. }
        | Cause::Broken { .. }
        | Cause::AnswerBroke { .. }
        | Cause::TooLong { .. }
        | Cause::Malformed { .. } => true,
        Cause::Refused { code, .. } => *code == UNAVAILABLE,
        Cause::Sqlite(_)
        | Cause::File(_)
        | Cause::Moving
        | Cause::Foreign
        | Cause::Newer { .. }
        | Cause::Stuck { .. } => false,
    }
}

fn message(
    endpoint: &Endpoint,
    path: &'static str,
    body: Bytes,
    token: Option<&str>,
) -> hyper::Request<Full<Bytes>> {
    let mut message = hyper::Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, endpoint.to_string())
        .header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        message = message.header(AUTHORIZATION, token);
    }
    message
        .body(Full::new(body))
        .expect("a path of ours, an endpoint and a token of etcd make a request")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
