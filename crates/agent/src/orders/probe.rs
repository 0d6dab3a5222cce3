//! Whether the leader's server is well, asked from this host.

use std::io::ErrorKind;
use std::time::Duration;

use manada_core::input::LeaderServer;
use manada_core::position::Epoch;
use manada_herd::Node;
use manada_model::NodeName;
use manada_postgres::conninfo::Endpoint;
use manada_postgres::{ConnectError, Session};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;

use super::Told;
use crate::peers::Book;

/// How long the leader's host has to take a connection. Its kernel does that, however busy the host
/// is. It is knocked at so long before a lease lapses that the answer is there when it does: where
/// the host is lost, a time without writes is spared.
pub(crate) const CONNECTED_WITHIN: Duration = Duration::from_millis(350);

/// How long after one knock there is another: one that a stalled network has swallowed is repeated
/// by TCP only after a second.
const KNOCK_EVERY: Duration = Duration::from_millis(100);

/// How long its server has for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1000);

/// Whether it takes writes, and of which epoch it knows.
const QUERY: &str = "SELECT NOT pg_catalog.pg_is_in_recovery(), \
     coalesce((SELECT max(epoch) FROM manada.rule), 0)";

/// Asks the leader's server.
#[derive(Debug)]
pub(crate) struct Probe {
    asker: Asker,
    told: mpsc::Sender<Told>,
    /// What was begun before it was ordered.
    ahead: Option<(ProbeOrder, JoinHandle<LeaderServer>)>,
}

#[derive(Clone, Debug)]
struct Asker {
    node: Node,
    book: watch::Receiver<Book>,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeOrder {
    pub(crate) leader: NodeName,
    /// The epoch of the record.
    pub(crate) epoch: Epoch,
}

#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("the book does not say where it is")]
    NoAddress,
    #[error("no connection within {} ms", CONNECTED_WITHIN.as_millis())]
    Unreachable,
    #[error("its host refuses connections")]
    Refused,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", manada_postgres::session::server_message(.0))]
    Sql(#[from] tokio_postgres::Error),
}

impl ProbeError {
    /// Whether the server answers that it has no room for another session.
    fn is_full(&self) -> bool {
        match self {
            ProbeError::Connect(ConnectError::Refused { source, .. }) | ProbeError::Sql(source) => {
                source.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
            }
            ProbeError::Connect(_)
            | ProbeError::NoAddress
            | ProbeError::Unreachable
            | ProbeError::Refused => false,
        }
    }
}

impl Probe {
    pub(crate) fn new(node: Node, book: watch::Receiver<Book>, told: mpsc::Sender<Told>) -> Probe {
        Probe {
            asker: Asker { node, book },
            told,
            ahead: None,
        }
    }

    /// Begins to ask what will probably be ordered soon.
    pub(crate) fn begin(&mut self, order: ProbeOrder) {
        self.forget();
        let asking = tokio::spawn(self.asker.clone().answer(order.clone()));
        self.ahead = Some((order, asking));
    }

    /// What was begun is not needed any more.
    pub(crate) fn forget(&mut self) {
        if let Some((_, asking)) = self.ahead.take() {
            asking.abort();
        }
    }

    /// Asks, unless that was begun, and tells the answer. The core asks again only when it has this
    /// one.
    pub(crate) fn give(&mut self, order: ProbeOrder) {
        let begun = self.ahead.take().filter(|(ahead, _)| *ahead == order);
        let asking = match begun {
            Some((_, asking)) => asking,
            None => tokio::spawn(self.asker.clone().answer(order)),
        };
        let told = self.told.clone();
        tokio::spawn(async move {
            if let Ok(answer) = asking.await {
                // Where nobody listens any more, the agent ends.
                let _ = told.send(Told::LeaderServer(answer)).await;
            }
        });
    }
}

impl Asker {
    async fn answer(self, order: ProbeOrder) -> LeaderServer {
        match timeout(ANSWERED_WITHIN, self.ask(&order)).await {
            Ok(Ok(true)) => LeaderServer::Answers,
            Ok(Ok(false)) | Err(_) => LeaderServer::Silent,
            // It serves as many as it may: that is no reason to take their primary away.
            Ok(Err(error)) if error.is_full() => LeaderServer::Full,
            Ok(Err(error)) => {
                tracing::debug!(leader = %order.leader, %error, "the leader's server is silent");
                LeaderServer::Silent
            }
        }
    }

    async fn ask(&self, order: &ProbeOrder) -> Result<bool, ProbeError> {
        let (host, port) = self.address(&order.leader).ok_or(ProbeError::NoAddress)?;
        let knocked = timeout(CONNECTED_WITHIN, knock(&host, port)).await;
        knocked.map_err(|_| ProbeError::Unreachable)??;
        let endpoint = Endpoint::tcp(host, port);
        let session = Session::open(&self.node.monitor(endpoint)).await?;
        let row = session.query_one(QUERY, &[]).await?;
        let (writes, epoch): (bool, i64) = (row.get(0), row.get(1));
        Ok(writes && u64::try_from(epoch).is_ok_and(|epoch| epoch == order.epoch.0))
    }

    fn address(&self, leader: &NodeName) -> Option<(String, u16)> {
        let book = self.book.borrow();
        let contact = book.get(leader)?;
        let host = contact.addresses.first()?.to_string();
        Some((host, contact.postgres_port?))
    }
}

/// Knocks until the host takes a connection, or refuses one.
async fn knock(host: &str, port: u16) -> Result<(), ProbeError> {
    let mut knocks = JoinSet::new();
    loop {
        let address = (host.to_owned(), port);
        knocks.spawn(async move { TcpStream::connect((address.0.as_str(), address.1)).await });
        tokio::select! {
            Some(Ok(knocked)) = knocks.join_next() => match knocked {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    return Err(ProbeError::Refused);
                }
                // The network may be on its way back.
                Err(error) => {
                    tracing::debug!(host, %error, "a knock failed");
                    sleep(KNOCK_EVERY).await;
                }
            },
            () = sleep(KNOCK_EVERY) => {}
        }
    }
}
