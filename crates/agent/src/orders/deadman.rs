//! Deadlines, told to the deadman one after the other.

use manada_core::action::ActionId;
use manada_core::timer::Moment;
use tokio::sync::mpsc;

use super::{Ended, Told, WAITING_MAX};
use crate::deadman::Deadman;

/// The way to the deadman.
#[derive(Debug)]
pub(crate) struct DeadmanOrders {
    given: mpsc::Sender<(ActionId, Option<Moment>)>,
}

impl DeadmanOrders {
    pub(crate) fn start(mut deadman: Deadman, told: mpsc::Sender<Told>) -> DeadmanOrders {
        let (given, mut orders) = mpsc::channel(WAITING_MAX);
        // Starting a process blocks: a thread of its own.
        std::thread::spawn(move || {
            while let Some((action, deadline)) = orders.blocking_recv() {
                let ended = match deadman.set(deadline) {
                    Ok(()) => Ended::done(action),
                    Err(error) => Ended::failed(action, error),
                };
                let news = Told::done(ended);
                if told.blocking_send(news).is_err() {
                    return;
                }
            }
        });
        DeadmanOrders { given }
    }

    /// Says whether it is on its way.
    pub(crate) fn give(&self, action: ActionId, deadline: Option<Moment>) -> bool {
        self.given.try_send((action, deadline)).is_ok()
    }
}
