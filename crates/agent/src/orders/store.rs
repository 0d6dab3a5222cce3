//! Orders to the store. A sign of life never waits behind a record that hangs.

use manada_core::action::ActionId;
use manada_core::input::Outcome;
use manada_core::lease::Lease;
use manada_core::record::{Record, Revision};
use manada_store::{Effect, Renewal, Store, StoreError, Swap};
use tokio::sync::mpsc;

use super::{Ended, Told, with_causes};

/// The way to the store. The core has at most one record and one sign of life under way, and the
/// store bounds the time of both.
#[derive(Clone, Debug)]
pub(crate) struct StoreOrders {
    store: Store,
    told: mpsc::Sender<Told>,
}

impl StoreOrders {
    pub(crate) fn new(store: Store, told: mpsc::Sender<Told>) -> StoreOrders {
        StoreOrders { store, told }
    }

    /// Puts a record in place of another.
    pub(crate) fn swap(&self, action: ActionId, expected: Revision, record: Box<Record>) {
        let orders = self.clone();
        tokio::spawn(async move {
            let swapped = orders.store.swap(expected, &record).await;
            let ended = match swapped {
                Ok(Swap::Swapped { record, lease }) => {
                    outcome(action, Outcome::Swapped { record, lease })
                }
                Ok(Swap::Conflict(Some(record))) => outcome(action, Outcome::Conflict(record)),
                Ok(Swap::Conflict(None)) => Ended::failed(action, RECORD_GONE),
                Err(error) => not_done(action, &error),
            };
            orders.tell(ended).await;
        });
    }

    /// Gives a sign of life.
    pub(crate) fn renew(&self, action: ActionId, expected: Revision, lease: Lease) {
        let orders = self.clone();
        tokio::spawn(async move {
            let renewed = orders.store.renew(expected, &lease).await;
            let ended = match renewed {
                Ok(Renewal::Renewed) => Ended::done(action),
                Ok(Renewal::Conflict(Some(record))) => outcome(action, Outcome::Conflict(record)),
                Ok(Renewal::Conflict(None)) => Ended::failed(action, RECORD_GONE),
                Err(error) => not_done(action, &error),
            };
            orders.tell(ended).await;
        });
    }

    async fn tell(&self, ended: Ended) {
        // Where nobody listens any more, the agent ends.
        let _ = self.told.send(Told::done(ended)).await;
    }
}

const RECORD_GONE: &str = "the store has no record any more";

fn outcome(action: ActionId, outcome: Outcome) -> Ended {
    Ended {
        action,
        outcome,
        error: None,
        trouble: None,
    }
}

fn not_done(action: ActionId, error: &StoreError) -> Ended {
    Ended {
        action,
        outcome: match error.effect {
            Effect::NotDone => Outcome::Failed,
            Effect::Unknown => Outcome::Unknown,
        },
        error: Some(with_causes(error)),
        trouble: None,
    }
}
