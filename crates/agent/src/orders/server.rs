//! Looks at this host's server, and the orders about it.

use std::sync::Arc;
use std::time::Duration;

use manada_core::action::{ActionId, Order};
use manada_core::input::Outcome;
use manada_core::position::RuleId;
use tokio::sync::{Mutex, mpsc, watch};

use super::{Ended, Given, Told, WAITING_MAX, with_causes};
use crate::server::{LocalServer, OrderError};

/// How often the server is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Something is under way that ends when the server shows it.
    Eager,
    /// It leads.
    Leading,
    /// It follows.
    Following,
}

impl Pace {
    fn pause(self) -> Duration {
        match self {
            Pace::Eager => Duration::from_millis(15),
            Pace::Leading => Duration::from_millis(250),
            Pace::Following => Duration::from_millis(500),
        }
    }
}

/// Whoever looks. What is seen is told in the order in which it was seen.
#[derive(Clone, Debug)]
pub(crate) struct ServerEyes {
    server: LocalServer,
    known_rule: watch::Receiver<RuleId>,
    told: Arc<Mutex<mpsc::Sender<Told>>>,
}

impl ServerEyes {
    pub(crate) fn new(
        server: LocalServer,
        known_rule: watch::Receiver<RuleId>,
        told: mpsc::Sender<Told>,
    ) -> ServerEyes {
        ServerEyes {
            server,
            known_rule,
            told: Arc::new(Mutex::new(told)),
        }
    }

    /// Looks at the server again and again, and at once when it has died.
    pub(crate) async fn keep_looking(self, mut pace: watch::Receiver<Pace>) {
        loop {
            if !self.look(None).await {
                return;
            }
            let pause = pace.borrow_and_update().pause();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.server.died() => {}
                changed = pace.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Looks once, and tells it together with the order that ended before. Says whether anybody
    /// listens.
    async fn look(&self, ended: Option<Ended>) -> bool {
        // Held until it is told: a look that began before an order ended is never told after it.
        let told = self.told.lock().await;
        let known_rule = *self.known_rule.borrow();
        let facts = self.server.look(known_rule).await;
        let news = match ended {
            None => Told::Server(Box::new(facts)),
            Some(ended) => Told::Done {
                ended: Box::new(ended),
                facts: Some(Box::new(facts)),
            },
        };
        told.send(news).await.is_ok()
    }
}

/// The way for orders about the server: one is carried out after the other.
#[derive(Debug)]
pub(crate) struct ServerOrders {
    given: mpsc::Sender<Given>,
}

/// How an order has ended that failed.
fn failed(action: ActionId, order: &Order, error: &OrderError) -> Ended {
    let ended = Ended::failed(action, with_causes(error));
    if !matches!(order, Order::StartStandby { .. } | Order::StartPrimary) {
        return ended;
    }
    let trouble = error.trouble();
    let outcome = if trouble.failure.may_be_of_data() {
        Outcome::Failed
    } else {
        Outcome::Hindered
    };
    Ended {
        outcome,
        trouble: Some(trouble),
        ..ended
    }
}

impl ServerOrders {
    pub(crate) fn start(server: LocalServer, eyes: ServerEyes) -> ServerOrders {
        let (given, mut orders) = mpsc::channel::<Given>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(Given { action, order }) = orders.recv().await {
                let ended = match server.carry_out(&order).await {
                    Ok(outcome) => Ended {
                        outcome,
                        ..Ended::done(action)
                    },
                    Err(error) => failed(action, &order, &error),
                };
                if !eyes.look(Some(ended)).await {
                    return;
                }
            }
        });
        ServerOrders { given }
    }

    /// Gives an order; it comes back where too many wait.
    pub(crate) fn give(&self, given: Given) -> Result<(), Given> {
        self.given.try_send(given).map_err(|error| match error {
            mpsc::error::TrySendError::Full(given) | mpsc::error::TrySendError::Closed(given) => {
                given
            }
        })
    }
}
