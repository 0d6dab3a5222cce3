//! One PostgreSQL server, as far as replication goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use manada_core::policy::Policy;
use manada_core::server::{Enforced, Gate};
use manada_model::SyncMethod;

use super::wal::{Entry, Greeting, Wal, WriteId};
use super::{Herd, HostId};

/// A data directory, its configuration, and the postmaster on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// What is flushed.
    pub wal: Wal,
    /// How much of it is replayed, where it is in recovery.
    pub replayed: usize,
    /// `standby.signal` is there: the next start is a recovery.
    pub standby_signal: bool,
    /// `pg_control` says that it was shut down as a primary.
    pub clean: bool,
    /// Whom `primary_conninfo` names.
    pub follows: Option<HostId>,
    /// `synchronous_standby_names`, as in the file and in the postmaster.
    pub setting: Arc<Setting>,
    /// The head of `pg_hba.conf`.
    pub gate: Gate,
    /// The postmaster.
    pub run: Run,
}

/// What a postmaster does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    /// There is none.
    Stopped,
    /// It is in recovery.
    Standby {
        /// From whom a walreceiver streams.
        receives: Option<HostId>,
    },
    /// It takes writes.
    Primary(Primary),
}

/// The memory of a primary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Primary {
    /// What was there before it took writes.
    pub recovery_end: usize,
    /// `sync_standbys_defined`, the flag in shared memory that the checkpointer alone sets.
    pub defined: bool,
    /// By whom receives.
    pub walsenders: BTreeMap<HostId, Walsender>,
    /// Commits that wait, with the end of each one's WAL.
    pub waiting: Vec<(WriteId, usize)>,
}

/// A walsender: it has its own copy of the settings, which it reads again some time after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Walsender {
    /// Its copy.
    pub setting: Arc<Setting>,
    /// What its standby has said to have flushed.
    pub flushed: usize,
    /// What its standby has flushed, the answer on its way.
    pub confirmed: usize,
    /// Whether its standby is still there.
    pub attached: bool,
}

/// A value of `synchronous_standby_names`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// None: commits wait for nobody.
    Empty,
    /// A name that nobody bears: they wait forever.
    Nobody,
    /// Names.
    Names {
        /// `FIRST`, else `ANY`.
        first: bool,
        /// How many.
        count: usize,
        /// Who.
        names: Vec<HostId>,
    },
}

impl Setting {
    /// What the agent would write.
    pub fn of(enforced: &Enforced, herd: &Herd) -> Setting {
        match enforced {
            Enforced::Nobody | Enforced::Foreign => Setting::Nobody,
            Enforced::Policy(policy) if policy.is_synchronous() => Setting::Names {
                first: policy.method == SyncMethod::First,
                count: policy.count as usize,
                names: policy.standbys.iter().map(|name| herd.host(name)).collect(),
            },
            Enforced::Policy(_) => Setting::Empty,
        }
    }

    /// What the agent reads in it.
    pub fn enforced(&self, herd: &Herd) -> Enforced {
        match self {
            Setting::Nobody => Enforced::Nobody,
            Setting::Empty => Enforced::Policy(Policy::asynchronous()),
            Setting::Names {
                first,
                count,
                names,
            } => Enforced::Policy(Policy {
                method: if *first {
                    SyncMethod::First
                } else {
                    SyncMethod::Any
                },
                count: u32::try_from(*count).unwrap_or(u32::MAX),
                standbys: names.iter().map(|host| herd.name(*host).clone()).collect(),
            }),
        }
    }

    fn place_of(&self, host: HostId) -> Option<usize> {
        match self {
            Setting::Empty | Setting::Nobody => None,
            Setting::Names { names, .. } => names.iter().position(|name| *name == host),
        }
    }
}

impl Server {
    /// A server that has never run.
    pub fn stopped(wal: Wal, standby_signal: bool) -> Server {
        Server {
            replayed: wal.length(),
            wal,
            standby_signal,
            clean: false,
            follows: None,
            setting: Arc::new(Setting::Nobody),
            gate: Gate::Closed,
            run: Run::Stopped,
        }
    }

    /// Its memory, if it takes writes.
    pub fn primary(&self) -> Option<&Primary> {
        match &self.run {
            Run::Primary(primary) => Some(primary),
            Run::Stopped | Run::Standby { .. } => None,
        }
    }

    /// Its memory, if it takes writes.
    pub fn primary_mut(&mut self) -> Option<&mut Primary> {
        match &mut self.run {
            Run::Primary(primary) => Some(primary),
            Run::Stopped | Run::Standby { .. } => None,
        }
    }

    /// From whom it streams.
    pub fn receives(&self) -> Option<HostId> {
        match self.run {
            Run::Standby { receives } => receives,
            Run::Stopped | Run::Primary(_) => None,
        }
    }

    /// Whether a walsender of this server lets that standby stream.
    pub fn greets(&self, standby: &Server) -> bool {
        self.primary().is_some() && self.wal.greets(&standby.wal) == Greeting::Streams
    }

    /// Starts it in recovery.
    pub fn start_standby(&mut self, follow: Option<HostId>) {
        self.standby_signal = true;
        self.clean = false;
        self.follows = follow;
        self.setting = Arc::new(Setting::Nobody);
        self.gate = Gate::Closed;
        self.replayed = self.wal.length();
        self.run = Run::Standby { receives: None };
    }

    /// Has it take writes: from now on nobody acknowledges anything.
    pub fn become_primary(&mut self, stamp: u32) {
        self.wal.append(Entry::Recovery(stamp));
        self.replayed = self.wal.length();
        self.standby_signal = false;
        self.clean = false;
        self.follows = None;
        self.setting = Arc::new(Setting::Nobody);
        self.gate = Gate::Closed;
        self.run = Run::Primary(Primary {
            recovery_end: self.wal.length(),
            defined: true,
            walsenders: BTreeMap::new(),
            waiting: Vec::new(),
        });
    }

    /// Ends it cleanly; the commits that still wait are told, whose outcome nobody knows.
    pub fn shut_down(&mut self, stamp: u32) -> Vec<WriteId> {
        if self.primary().is_some() {
            self.wal.append(Entry::Shutdown(stamp));
            self.replayed = self.wal.length();
            self.clean = true;
        }
        self.kill()
    }

    /// Ends it at once; the commits that still wait are told, whose outcome nobody knows.
    pub fn kill(&mut self) -> Vec<WriteId> {
        match std::mem::replace(&mut self.run, Run::Stopped) {
            Run::Primary(primary) => primary.waiting.into_iter().map(|(id, _)| id).collect(),
            Run::Stopped | Run::Standby { .. } => Vec::new(),
        }
    }

    /// Writes a setting and reloads. Walsenders and the checkpointer follow later.
    pub fn set(&mut self, setting: Setting) {
        self.setting = Arc::new(setting);
    }

    /// The checkpointer reads the setting. Commits that wait for nobody any more are told.
    pub fn checkpointer_reloads(&mut self) -> Vec<WriteId> {
        let defined = *self.setting != Setting::Empty;
        let Some(primary) = self.primary_mut() else {
            return Vec::new();
        };
        primary.defined = defined;
        if defined {
            return Vec::new();
        }
        primary.waiting.drain(..).map(|(id, _)| id).collect()
    }

    /// Whether what was set is in force: everybody has read it, and it was seen to be kept.
    pub fn is_in_force(&self) -> bool {
        let Some(primary) = self.primary() else {
            return false;
        };
        let read = |sender: &Walsender| sender.setting == self.setting;
        primary.defined == (*self.setting != Setting::Empty)
            && primary.walsenders.values().all(read)
            && match &*self.setting {
                Setting::Empty | Setting::Nobody => true,
                Setting::Names { count, names, .. } => {
                    let stream = |host: &&HostId| {
                        let sender = primary.walsenders.get(host);
                        sender.is_some_and(|sender| sender.attached)
                    };
                    names.iter().filter(stream).count() >= *count
                }
            }
    }

    /// A walsender reads its standby's answer, and lets go what may be let go as *it* sees it
    /// (`SyncRepReleaseWaiters`).
    pub fn answer(&mut self, from: HostId) -> Vec<WriteId> {
        let Some(primary) = self.primary_mut() else {
            return Vec::new();
        };
        let Some(sender) = primary.walsenders.get_mut(&from) else {
            return Vec::new();
        };
        sender.flushed = sender.flushed.max(sender.confirmed);
        let released = primary.released_by(from);
        let mut told = Vec::new();
        primary.waiting.retain(|(id, end)| {
            let waits = *end > released;
            if !waits {
                told.push(*id);
            }
            waits
        });
        told
    }
}

impl Server {
    /// A walsender whose standby is gone, and has nothing more to say, ends.
    pub fn dismiss(&mut self, standby: HostId) {
        if let Some(primary) = self.primary_mut()
            && let Some(sender) = primary.walsenders.get(&standby)
            && !sender.attached
        {
            primary.walsenders.remove(&standby);
        }
    }
}

impl Primary {
    /// Up to where that walsender would let commits go: it counts by its own copy of the setting
    /// those who count themselves in by theirs (`SyncRepGetSyncRecPtr`).
    fn released_by(&self, from: HostId) -> usize {
        let Some(sender) = self.walsenders.get(&from) else {
            return 0;
        };
        let (first, count) = match &*sender.setting {
            Setting::Empty | Setting::Nobody => return 0,
            Setting::Names { first, count, .. } => (*first, *count),
        };
        if sender.setting.place_of(from).is_none() {
            return 0;
        }
        let mut candidates: Vec<(usize, usize)> = self
            .walsenders
            .iter()
            .filter_map(|(host, sender)| {
                let place = sender.setting.place_of(*host)?;
                Some((place, sender.flushed))
            })
            .collect();
        if candidates.len() < count || count == 0 {
            return 0;
        }
        if first {
            candidates.sort_by_key(|(place, _)| *place);
            let chosen = candidates[..count].iter();
            chosen.map(|(_, flushed)| *flushed).min().unwrap_or(0)
        } else {
            candidates.sort_by_key(|(_, flushed)| std::cmp::Reverse(*flushed));
            candidates[count - 1].1
        }
    }
}
