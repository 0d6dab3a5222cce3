//! What is simulated of a host beyond its state.

use std::sync::Arc;
use std::time::Duration;

use manada_core::record::{Record, Versioned};
use manada_core::timer::Moment;

/// A host: what hinders it, and what is under way on it.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Machine {
    /// Nothing happens on it before.
    pub(super) stands_until: Duration,
    /// Its agent does nothing before.
    pub(super) agent_stands_until: Duration,
    /// No timer of its agent fires before.
    pub(super) clock_stands_until: Duration,
    /// What is ordered of its server fails before.
    pub(super) orders_fail_until: Duration,
    /// No promise of its agent becomes durable before.
    pub(super) syncs_fail_until: Duration,
    /// It loses its power when it is about to make a promise durable.
    pub(super) dies_at_promise: bool,
    /// It has no power.
    pub(super) off: bool,
    /// It does not reach the store.
    pub(super) store_unreachable: bool,
    /// The newest record that its agent has known, which is on its disk.
    pub(super) memory: Option<Arc<Versioned<Record>>>,
    /// Since when the store has less than that.
    pub(super) behind_since: Option<Duration>,
    /// Counts the agent's lives.
    pub(super) life: u32,
    pub(super) busy: Busy,
    /// When the policy that is being enforced is given up.
    pub(super) enforce_until: Duration,
    pub(super) deadman: Option<Moment>,
    /// When a timer of its agent is due.
    pub(super) wakes_at: Option<Duration>,
    /// When its agent looks at its server.
    pub(super) looks_at: Option<Duration>,
}

/// What of an agent is under way.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(super) struct Busy {
    pub(super) server: bool,
    pub(super) store: bool,
    pub(super) renewal: bool,
    pub(super) promise: bool,
    pub(super) probe: bool,
    pub(super) read: bool,
    pub(super) receive: bool,
    pub(super) connect: bool,
}
