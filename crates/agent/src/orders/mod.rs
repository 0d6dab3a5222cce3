//! Who carries out what the core orders, and tells how it ended.

mod deadman;
mod probe;
mod promise;
mod server;
mod store;

use manada_core::action::{ActionId, Order};
use manada_core::input::{LeaderServer, Outcome};
use manada_core::server::ServerFacts;
use manada_model::StartTrouble;

pub(crate) use deadman::DeadmanOrders;
pub(crate) use probe::{CONNECTED_WITHIN, Probe, ProbeOrder};
pub(crate) use promise::PromiseOrders;
pub(crate) use server::{Pace, ServerEyes, ServerOrders};
pub(crate) use store::StoreOrders;

/// How many orders of a kind wait. The core gives one at a time.
const WAITING_MAX: usize = 16;

/// What executors tell the loop.
#[derive(Debug)]
pub(crate) enum Told {
    /// A look at the server.
    Server(Box<ServerFacts>),
    /// An order has ended; after one about the server, what the server is now.
    Done {
        /// Which, when it was given, and how it ended.
        ended: Box<Ended>,
        /// The server, where it was the order's concern.
        facts: Option<Box<ServerFacts>>,
    },
    /// The leader's server was asked.
    LeaderServer(LeaderServer),
}

/// An order that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) action: ActionId,
    pub(crate) outcome: Outcome,
    /// What was in the way, where something was.
    pub(crate) error: Option<String>,
    /// What kept the server from starting, where that was to be done.
    pub(crate) trouble: Option<StartTrouble>,
}

/// An order on its way to its executor.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) action: ActionId,
    pub(crate) order: Order,
}

impl Told {
    /// An order has ended that is not about the server.
    pub(crate) fn done(ended: Ended) -> Told {
        Told::Done {
            ended: Box::new(ended),
            facts: None,
        }
    }
}

impl Ended {
    pub(crate) fn failed(action: ActionId, error: impl std::fmt::Display) -> Ended {
        Ended {
            action,
            outcome: Outcome::Failed,
            error: Some(error.to_string()),
            trouble: None,
        }
    }

    pub(crate) fn done(action: ActionId) -> Ended {
        Ended {
            action,
            outcome: Outcome::Done,
            error: None,
            trouble: None,
        }
    }
}

/// An error and what it stems from, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let said = source.to_string();
        // Transparent errors repeat their source's words.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = source.source();
    }
    text
}
