//! What goes wrong, in words that a test can be read in.

use std::time::Duration;

use manada_core::input::Command;

use crate::world::HostId;

/// Something that goes wrong, or that an operator does. What lasts, lasts for that long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The postmaster is killed.
    KillServer(HostId),
    /// The agent is killed; it is started again at once.
    KillAgent(HostId),
    /// The host loses its power, and comes back: what was not synced is gone.
    PowerLoss(HostId, Duration),
    /// The whole host stands still: its disk, its network or its processor stalls.
    Stall(HostId, Duration),
    /// The agent stands still, and its server goes on.
    PauseAgent(HostId, Duration),
    /// The clock by which the agent's timers run stands still.
    ClockStands(HostId, Duration),
    /// Nothing reaches the host or leaves it, the store included.
    Isolate(HostId, Duration),
    /// Nothing gets from one to the other; the way back is open.
    OneWay(HostId, HostId, Duration),
    /// The store answers nobody.
    StoreLoss(Duration),
    /// The store does not answer this one.
    StoreUnreachable(HostId, Duration),
    /// Answers of the store get lost, whether it has done what was asked or not.
    StoreDoubtful(Duration),
    /// Nothing that the agent orders of its server comes to its end.
    OrdersFail(HostId, Duration),
    /// A client's wait for its commit is cancelled.
    Cancel(HostId),
    /// An operator's command, to the agent of that host.
    Command(HostId, Command),
}

impl Fault {
    /// How long it lasts.
    pub fn lasts(&self) -> Duration {
        match self {
            Fault::PowerLoss(_, time)
            | Fault::Stall(_, time)
            | Fault::PauseAgent(_, time)
            | Fault::ClockStands(_, time)
            | Fault::Isolate(_, time)
            | Fault::OneWay(_, _, time)
            | Fault::StoreLoss(time)
            | Fault::StoreUnreachable(_, time)
            | Fault::OrdersFail(_, time)
            | Fault::StoreDoubtful(time) => *time,
            Fault::KillServer(_) | Fault::KillAgent(_) | Fault::Cancel(_) | Fault::Command(..) => {
                Duration::ZERO
            }
        }
    }
}
