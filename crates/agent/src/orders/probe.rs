//! Whether the leader's server is well, asked from this host.

use std::time::Duration;

use manada_core::input::LeaderServer;
use manada_core::position::Epoch;
use manada_herd::Node;
use manada_model::NodeName;
use manada_postgres::Session;
use manada_postgres::conninfo::Endpoint;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::Told;
use crate::peers::Book;

/// How long the leader's host has to take a connection. Its kernel does that, however busy the host
/// is; and where the host is lost, this time is one without writes.
const CONNECTED_WITHIN: Duration = Duration::from_millis(350);

/// How long its server has for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1000);

/// Whether it takes writes, and of which epoch it knows.
const QUERY: &str = "SELECT NOT pg_catalog.pg_is_in_recovery(), \
     coalesce((SELECT max(epoch) FROM manada.rule), 0)";

/// Asks the leader's server.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    node: Node,
    book: watch::Receiver<Book>,
    told: mpsc::Sender<Told>,
}

/// Whom to ask.
#[derive(Debug)]
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
    #[error("connecting: {0}")]
    Tcp(#[from] std::io::Error),
    #[error(transparent)]
    Connect(#[from] manada_postgres::ConnectError),
    #[error("{}", manada_postgres::session::server_message(.0))]
    Sql(#[from] tokio_postgres::Error),
}

impl Probe {
    pub(crate) fn new(node: Node, book: watch::Receiver<Book>, told: mpsc::Sender<Told>) -> Probe {
        Probe { node, book, told }
    }

    /// Asks, and tells the answer. The core asks again only when it has this one.
    pub(crate) fn give(&self, order: ProbeOrder) {
        let probe = self.clone();
        tokio::spawn(async move {
            let asked = tokio::time::timeout(ANSWERED_WITHIN, probe.ask(&order)).await;
            let answer = match asked {
                Ok(Ok(true)) => LeaderServer::Answers,
                Ok(Ok(false)) => LeaderServer::Silent,
                Ok(Err(error)) => {
                    tracing::debug!(leader = %order.leader, %error, "the leader's server is silent");
                    LeaderServer::Silent
                }
                Err(_) => LeaderServer::Silent,
            };
            // Where nobody listens any more, the agent ends.
            let _ = probe.told.send(Told::LeaderServer(answer)).await;
        });
    }

    async fn ask(&self, order: &ProbeOrder) -> Result<bool, ProbeError> {
        let (host, port) = self.address(&order.leader).ok_or(ProbeError::NoAddress)?;
        let knock = TcpStream::connect((host.as_str(), port));
        let knocked = tokio::time::timeout(CONNECTED_WITHIN, knock).await;
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
