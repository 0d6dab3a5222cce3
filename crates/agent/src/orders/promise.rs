//! Promises, made durable one after the other.

use manada_core::action::ActionId;
use manada_core::server::Promise;
use tokio::sync::mpsc;

use super::{Ended, Told, WAITING_MAX};
use crate::promise_file::PromiseFile;

/// The way to the disk.
#[derive(Debug)]
pub(crate) struct PromiseOrders {
    given: mpsc::Sender<(ActionId, Promise)>,
}

impl PromiseOrders {
    pub(crate) fn start(file: PromiseFile, told: mpsc::Sender<Told>) -> PromiseOrders {
        let (given, mut orders) = mpsc::channel(WAITING_MAX);
        // The disk may stall for long: a thread of its own.
        std::thread::spawn(move || {
            while let Some((action, promise)) = orders.blocking_recv() {
                let ended = match file.write(&promise) {
                    Ok(()) => Ended::done(action),
                    Err(error) => Ended::failed(action, error),
                };
                let news = Told::done(ended);
                if told.blocking_send(news).is_err() {
                    return;
                }
            }
        });
        PromiseOrders { given }
    }

    /// Says whether it is on its way.
    pub(crate) fn give(&self, action: ActionId, promise: Promise) -> bool {
        self.given.try_send((action, promise)).is_ok()
    }
}
