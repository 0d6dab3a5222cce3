//! What goes wrong, in words that a test can be read in.

use std::time::Duration;

use manada_core::input::Command;

use super::happening::Happening;
use crate::world::HostId;

/// Something that goes wrong, or that an operator does. What lasts, lasts for that long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The postmaster is killed.
    KillServer(HostId),
    /// The agent is killed; it is started again at once.
    KillAgent(HostId),
    /// The agent says that it will be back, ends, and comes back.
    RestartAgent(HostId),
    /// The host loses its power, and comes back: what was not synced is gone.
    PowerLoss(HostId, Duration),
    /// The host loses its power when it is about to make a promise durable.
    PowerLossAtPromise(HostId, Duration),
    /// No promise can be made durable.
    SyncFails(HostId, Duration),
    /// The whole host stands still: its disk, its network or its processor stalls.
    Stall(HostId, Duration),
    /// The agent stands still, and its server goes on.
    PauseAgent(HostId, Duration),
    /// The clock by which the agent's timers run stands still.
    ClockStands(HostId, Duration),
    /// Nothing reaches the host or leaves it, the store included.
    Isolate(HostId, Duration),
    /// The two do not reach each other.
    Part(HostId, HostId, Duration),
    /// Nothing gets from one to the other; the way back is open.
    OneWay(HostId, HostId, Duration),
    /// The store answers nobody.
    StoreLoss(Duration),
    /// The store has lost the record, until an operator takes the herd up again: it was emptied, or
    /// restored to the record of so many changes ago.
    RecordLoss(Option<usize>, Duration),
    /// The store does not answer this one.
    StoreUnreachable(HostId, Duration),
    /// Answers of the store get lost, whether it has done what was asked or not.
    StoreDoubtful(Duration),
    /// What is read of the store is often what was there before.
    StoreStale(Duration),
    /// Nothing that the agent orders of its server comes to its end.
    OrdersFail(HostId, Duration),
    /// Servers' processes take long to read settings again, each by itself.
    SlowReloads(Duration),
    /// Clients cancel their waits for commits.
    Cancels(Duration),
    /// An operator's command, to the agent of that host.
    Command(HostId, Command),
    /// An operator pauses the herd by the agent of that host, and resumes it.
    Pause(HostId, Duration),
}

impl Fault {
    /// How long it lasts.
    pub fn lasts(&self) -> Duration {
        match self {
            Fault::PowerLoss(_, time)
            | Fault::PowerLossAtPromise(_, time)
            | Fault::SyncFails(_, time)
            | Fault::Stall(_, time)
            | Fault::PauseAgent(_, time)
            | Fault::ClockStands(_, time)
            | Fault::Isolate(_, time)
            | Fault::Part(_, _, time)
            | Fault::OneWay(_, _, time)
            | Fault::StoreLoss(time)
            | Fault::RecordLoss(_, time)
            | Fault::StoreUnreachable(_, time)
            | Fault::StoreDoubtful(time)
            | Fault::StoreStale(time)
            | Fault::OrdersFail(_, time)
            | Fault::SlowReloads(time)
            | Fault::Cancels(time)
            | Fault::Pause(_, time) => *time,
            Fault::KillServer(_)
            | Fault::KillAgent(_)
            | Fault::RestartAgent(_)
            | Fault::Command(..) => Duration::ZERO,
        }
    }

    /// As what it counts when it begins; `None` for what counts when it has come to something.
    pub(super) fn happening(&self) -> Option<Happening> {
        Some(match self {
            Fault::KillServer(_) => Happening::ServerKilled,
            Fault::KillAgent(_) => Happening::AgentKilled,
            Fault::RestartAgent(_) => Happening::AgentRestarted,
            Fault::PowerLoss(..) => Happening::PowerLost,
            Fault::Stall(..) => Happening::HostStalled,
            Fault::PauseAgent(..) => Happening::AgentStalled,
            Fault::ClockStands(..) => Happening::ClockStood,
            Fault::Isolate(..) => Happening::HostIsolated,
            Fault::Part(..) => Happening::HostsParted,
            Fault::OneWay(..) => Happening::PartedOneWay,
            Fault::StoreLoss(_) => Happening::StoreLost,
            Fault::RecordLoss(None, _) => Happening::RecordGone,
            Fault::RecordLoss(Some(_), _) => Happening::RecordOld,
            Fault::StoreUnreachable(..) => Happening::StoreUnreachable,
            Fault::PowerLossAtPromise(..)
            | Fault::SyncFails(..)
            | Fault::StoreDoubtful(_)
            | Fault::StoreStale(_)
            | Fault::OrdersFail(..)
            | Fault::SlowReloads(_)
            | Fault::Cancels(_)
            | Fault::Pause(..) => return None,
            Fault::Command(_, command) => match command {
                Command::Switchover { .. } => Happening::SwitchoverAsked,
                Command::Failover {
                    allow_loss: None, ..
                } => Happening::FailoverAsked,
                Command::Failover { .. } => Happening::LossAllowed,
                Command::SetPolicy(_)
                | Command::Admit { .. }
                | Command::Pause
                | Command::Resume
                | Command::Forget { .. }
                | Command::AgentRestarts => return None,
            },
        })
    }
}
