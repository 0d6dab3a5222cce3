//! What can happen to a herd, counted: so that a test can say that all of it did.

use std::collections::BTreeMap;

/// A kind of thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happening {
    /// A postmaster was killed.
    ServerKilled,
    /// An agent was killed.
    AgentKilled,
    /// An agent was started anew, which it had said before.
    AgentRestarted,
    /// A host lost its power.
    PowerLost,
    /// A host lost its power before a promise was durable.
    PromiseLost,
    /// A promise could not be made durable.
    SyncFailed,
    /// A host stood still.
    HostStalled,
    /// An agent stood still.
    AgentStalled,
    /// A clock stood still.
    ClockStood,
    /// A host was cut off.
    HostIsolated,
    /// Two hosts did not reach each other.
    HostsParted,
    /// One host did not reach another, which reached it.
    PartedOneWay,
    /// The store was gone.
    StoreLost,
    /// The store was gone for one host.
    StoreUnreachable,
    /// The store was emptied.
    RecordGone,
    /// The store was restored to an older record.
    RecordOld,
    /// An operator took the herd up again, and its leader went on.
    RecoveredAtOnce,
    /// An operator took the herd up again, and all elected.
    RecoveredByElection,
    /// What became of a swap was not known.
    SwapInDoubt,
    /// A swap that was given up arrived later.
    SwapLate,
    /// A read of the store was stale.
    ReadStale,
    /// Orders about a server failed.
    OrdersFailed,
    /// Walsenders went by different settings for long.
    ReloadsSlow,
    /// A client's wait was cancelled.
    CommitCancelled,
    /// An operator wanted a switchover.
    SwitchoverAsked,
    /// An operator wanted a failover.
    FailoverAsked,
    /// An operator wanted a failover whatever is lost, within a bound.
    LossAllowed,
    /// An operator changed the policy.
    PolicyChanged,
    /// An operator changed a priority.
    PriorityChanged,
    /// An operator paused the herd for a while.
    Paused,
    /// Another came to lead.
    LeaderChanged,
    /// A leader was started in place.
    StartedInPlace,
    /// A leader stopped its server cleanly to hand over.
    StoppedCleanly,
    /// WAL was fetched from one that may not lead.
    WalFetched,
    /// A node came back by a rewind.
    Rewound,
    /// A node came back as a clone.
    Cloned,
    /// The deadman killed a server.
    DeadmanStruck,
    /// A leader was chosen by those who do not cover what it may have acknowledged.
    LossAccepted,
    /// A herd lived under `ANY`.
    UnderAny,
    /// A herd lived under `FIRST`.
    UnderFirst,
    /// A herd lived under no synchronous policy.
    UnderAsynchronous,
    /// A herd lived with a witness.
    WithWitness,
    /// A herd lived that degrades.
    Degrading,
}

impl Happening {
    /// All of them.
    pub const ALL: [Happening; 43] = [
        Happening::ServerKilled,
        Happening::AgentKilled,
        Happening::AgentRestarted,
        Happening::PowerLost,
        Happening::PromiseLost,
        Happening::SyncFailed,
        Happening::HostStalled,
        Happening::AgentStalled,
        Happening::ClockStood,
        Happening::HostIsolated,
        Happening::HostsParted,
        Happening::PartedOneWay,
        Happening::StoreLost,
        Happening::StoreUnreachable,
        Happening::RecordGone,
        Happening::RecordOld,
        Happening::RecoveredAtOnce,
        Happening::RecoveredByElection,
        Happening::SwapInDoubt,
        Happening::SwapLate,
        Happening::ReadStale,
        Happening::OrdersFailed,
        Happening::ReloadsSlow,
        Happening::CommitCancelled,
        Happening::SwitchoverAsked,
        Happening::FailoverAsked,
        Happening::LossAllowed,
        Happening::PolicyChanged,
        Happening::PriorityChanged,
        Happening::Paused,
        Happening::LeaderChanged,
        Happening::StartedInPlace,
        Happening::StoppedCleanly,
        Happening::WalFetched,
        Happening::Rewound,
        Happening::Cloned,
        Happening::DeadmanStruck,
        Happening::LossAccepted,
        Happening::UnderAny,
        Happening::UnderFirst,
        Happening::UnderAsynchronous,
        Happening::WithWitness,
        Happening::Degrading,
    ];
}

/// How often each has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Happening, u64>);

impl Counts {
    /// Once more.
    pub fn add(&mut self, happening: Happening) {
        *self.0.entry(happening).or_default() += 1;
    }

    /// Those of another herd as well.
    pub fn merge(&mut self, other: &Counts) {
        for (happening, times) in &other.0 {
            *self.0.entry(*happening).or_default() += times;
        }
    }

    /// How often.
    pub fn of(&self, happening: Happening) -> u64 {
        self.0.get(&happening).copied().unwrap_or(0)
    }
}
