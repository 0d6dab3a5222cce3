//! The open port for questions about the node's health.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::answer::{Answer, Body, Known};
use super::metrics;
use crate::clock;
use crate::door::take_in_newest;
use crate::glance::{Glance, Who};
use crate::peers::Book;

/// How many connections may be open at once.
const CONNECTIONS_MAX: usize = 128;

/// How long a request's head may take, and how long a connection may be idle. Whoever asks seldom
/// connects anew.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// An open port.
#[derive(Debug)]
pub struct HealthListener {
    socket: TcpListener,
}

/// Nobody can ask how the node is.
#[derive(Debug, thiserror::Error)]
#[error("listening for questions about health at {address}: {source}")]
pub struct HealthListenError {
    address: SocketAddr,
    source: io::Error,
}

/// Where the answers come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Who is asked.
    pub who: Arc<Who>,
    /// How it is now.
    pub glance: watch::Receiver<Arc<Glance>>,
    /// Where the others are.
    pub book: watch::Receiver<Book>,
}

impl HealthListener {
    /// Opens the port.
    pub async fn bind(address: SocketAddr) -> Result<HealthListener, HealthListenError> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|source| HealthListenError { address, source })?;
        Ok(HealthListener { socket })
    }

    /// Answers, until it is dropped.
    pub async fn serve(self, sources: Sources) {
        let converse = |stream| converse(stream, sources.clone());
        take_in_newest(&self.socket, CONNECTIONS_MAX, "health checks", converse).await;
    }
}

async fn converse(stream: TcpStream, sources: Sources) {
    let service = service_fn(|request| {
        let response = respond(&request, &sources);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection that asked about health ended");
    }
}

/// `HEAD` and `OPTIONS` have the status alone: HAProxy's checks ask so.
fn respond(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    let with_body = match *request.method() {
        Method::GET => true,
        Method::HEAD | Method::OPTIONS => false,
        _ => {
            let mut refusal = Response::new(Full::default());
            *refusal.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET, HEAD, OPTIONS");
            refusal.headers_mut().insert(ALLOW, allowed);
            return refusal;
        }
    };
    let glance = Arc::clone(&sources.glance.borrow());
    let book = sources.book.borrow();
    let known = Known {
        who: &sources.who,
        glance: &glance,
        book: &book,
        now: clock::now(),
    };
    let Answer { status, body } = known.answer(request.uri().path(), request.uri().query());
    let (kind, text) = match body {
        Body::Json(value) => ("application/json", format!("{value}\n")),
        Body::Metrics(text) => (metrics::CONTENT_TYPE, text),
    };
    let mut response = Response::new(Full::from(if with_body { text } else { String::new() }));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
