//! How much may happen: what makes the number of states finite.

use manada_core::input::Command;
use manada_core::policy::{Policy, Published};
use manada_core::position::{Epoch, Position, RuleId};
use manada_core::record::{Desired, MemberRole, Mode, Record, Reign, WhenShort};
use manada_model::{Lsn, SyncMethod};

use crate::world::{Herd, HostId};

/// The most of each that may happen on one path.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How those standbys are chosen that commits wait for.
    pub method: SyncMethod,
    /// How many standbys must have a commit at the beginning.
    pub count: u32,
    /// What is done when there are too few.
    pub when_short: WhenShort,
    /// The highest epoch.
    pub epochs: u64,
    /// The highest revision of the record.
    pub revisions: u64,
    /// Timers that fire.
    pub timers: u8,
    /// Signs of life that a leader gives beyond those that say that its reign has begun. Only where
    /// nothing but time keeps it from acknowledging they say something that another's failover
    /// rests on.
    pub beats: u8,
    /// How much of an asynchronous leader's WAL a failover may give up by itself.
    pub loss_bytes_max: u64,
    /// Clients' writes.
    pub writes: u8,
    /// Cancelled waits.
    pub cancels: u8,
    /// Hosts or servers that die.
    pub crashes: u8,
    /// Agents that die alone.
    pub agent_deaths: u8,
    /// Orders about the server that fail.
    pub failures: u8,
    /// Requests to the store of unknown outcome.
    pub store_faults: u8,
    /// Reads of the store that are stale.
    pub stale_reads: u8,
    /// Whether standbys are found to be away or to have come back, so that policies change.
    pub policy_changes: bool,
    /// What operators want, each once, in this order, of whom.
    pub commands: Vec<(HostId, Command)>,
    /// What may happen any time later, so that anything can come before it.
    pub late: Vec<Late>,
}

/// What follows from something else by itself: at once, or any time later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// An agent looks at its server.
    Looks,
    /// An agent carries out an order about its server.
    Orders,
    /// A swap reaches the store.
    Swaps,
    /// An agent reads the store.
    Reads,
    /// A letter arrives.
    Mail,
    /// A standby flushes what its leader has.
    Flushes,
    /// A standby's answer arrives at its leader.
    Answers,
    /// A walsender, or the checkpointer, reads the settings.
    Reloads,
}

/// How much has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub(crate) timers: u8,
    pub(crate) beats: u8,
    pub(crate) writes: u8,
    pub(crate) cancels: u8,
    pub(crate) crashes: u8,
    pub(crate) agent_deaths: u8,
    pub(crate) failures: u8,
    pub(crate) store_faults: u8,
    pub(crate) stale_reads: u8,
    pub(crate) commands: u8,
    /// Whether WAL was fetched from a witness: nothing else in a state tells.
    pub(crate) fetched: bool,
}

impl Bounds {
    /// One lapsed lease and what follows from it, with one write, and nothing that goes wrong.
    pub fn smallest() -> Bounds {
        Bounds {
            method: SyncMethod::Any,
            count: 1,
            when_short: WhenShort::Block,
            epochs: 2,
            revisions: 5,
            timers: 2,
            beats: 0,
            loss_bytes_max: 0,
            writes: 1,
            cancels: 0,
            crashes: 0,
            agent_deaths: 0,
            failures: 0,
            store_faults: 0,
            stale_reads: 0,
            policy_changes: false,
            commands: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Whether that may happen any time later.
    pub(super) fn is_late(&self, what: Late) -> bool {
        self.late.contains(&what)
    }

    /// The record that the herd begins with: the first leads, and commits wait for `count` of all
    /// others.
    pub fn record(&self, herd: &Herd) -> Record {
        let leader = herd.name(HostId(0)).clone();
        let others = herd.hosts().skip(1);
        let standbys: Vec<_> = others.map(|host| herd.name(host).clone()).collect();
        let policy = if self.count == 0 {
            Policy::asynchronous()
        } else {
            Policy {
                method: self.method,
                count: self.count,
                standbys,
            }
        };
        let member = |host: HostId| -> (_, MemberRole) {
            (herd.name(host).clone(), herd.roles[usize::from(host.0)])
        };
        Record {
            recoveries: 0,
            epoch: Epoch(1),
            leader: Some(leader.clone()),
            coordinator: leader.clone(),
            policies: vec![Published {
                leader: leader.clone(),
                policy,
            }],
            reigns: vec![Reign {
                epoch: Epoch(1),
                leader,
                began_at: Position {
                    rule: RuleId::default(),
                    flush_lsn: Lsn(0),
                },
                unruled: None,
            }],
            desired: Desired {
                method: self.method,
                count: self.count,
                standbys: None,
                when_short: self.when_short,
            },
            mode: Mode::Automatic,
            members: herd.hosts().map(member).collect(),
        }
    }
}
