//! A herd of simulated servers, their agents with the shipped core, the store and the network: what
//! can happen to them, one step at a time. Who steps decides the order and the time.

mod agent;
mod ledger;
mod orders;
mod server;
mod servers;
mod store;
mod verdict;
mod wal;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use manada_core::guards::Guard;
use manada_core::message::Message;
use manada_core::node::Limits;
use manada_core::record::{MemberRole, Record};
use manada_core::server::Promise;
use manada_core::timer::Moment;
use manada_model::NodeName;

pub use self::agent::{Agent, Execution};
pub use self::ledger::{Fate, Ledger, Violation, Written};
pub use self::server::{Primary, Run, Server, Setting, Walsender};
pub use self::store::{Loss, Store, StoreFault, Swap};
pub use self::wal::{Entry, Greeting, Mark, Wal, WriteId};
use crate::shared::Shared;

/// A node, by its place in the herd.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u16);

impl std::fmt::Debug for HostId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl HostId {
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What does not change: who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Herd {
    names: Vec<NodeName>,
    servers: u16,
    /// What each may do.
    pub roles: Vec<MemberRole>,
    /// What their agents are told.
    pub limits: Limits,
    /// The guard that their cores are without, to see that it is missed.
    pub left_out: Option<Guard>,
}

impl Herd {
    /// `servers` servers and as many witnesses as that, with names in their order.
    pub fn new(servers: u16, witnesses: u16, limits: Limits) -> Herd {
        let server = |place| (format!("s{place:04}"), MemberRole::Server { priority: 1 });
        let witness = |place| (format!("w{place:04}"), MemberRole::Witness);
        let members = (0..servers).map(server).chain((0..witnesses).map(witness));
        let (names, roles): (Vec<_>, Vec<_>) = members.unzip();
        let parse = |name: String| name.parse().expect("a letter and digits are a name");
        Herd {
            servers,
            names: names.into_iter().map(parse).collect(),
            roles,
            limits,
            left_out: None,
        }
    }

    /// All of them.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.names.len()).map(|place| HostId(u16::try_from(place).unwrap_or(u16::MAX)))
    }

    /// How many of them are witnesses.
    pub fn witnesses(&self) -> usize {
        self.names.len() - usize::from(self.servers)
    }

    /// Its name.
    pub fn name(&self, host: HostId) -> &NodeName {
        &self.names[host.index()]
    }

    /// Whose name it is.
    pub fn host(&self, name: &NodeName) -> HostId {
        let text = name.as_str();
        let offset = if text.starts_with('w') {
            self.servers
        } else {
            0
        };
        let place: u16 = text[1..].parse().expect("names were made here");
        HostId(offset + place)
    }
}

/// One host: what survives a crash of it, and what does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// The promise as it was last synced.
    pub promise: Promise,
    /// The daemon, while it runs.
    pub agent: Option<Shared<Agent>>,
    /// PostgreSQL.
    pub server: Shared<Server>,
    /// When the deadman kills the server.
    pub deadman: Option<Moment>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct World {
    /// Who they are.
    pub herd: Arc<Herd>,
    /// Each node.
    pub hosts: Vec<Host>,
    /// The store.
    pub store: Shared<Store>,
    /// Messages under way.
    pub mail: Vec<(HostId, HostId, Shared<Message>)>,
    /// Ways that let nothing through, from and to.
    pub cut: BTreeSet<(HostId, HostId)>,
    /// What clients know.
    pub ledger: Shared<Ledger>,
    /// How many ends of WAL each node has written: they are told apart by it.
    stamps: Vec<u32>,
}

impl World {
    /// A herd that is whole: the first leads under that record, all others stream from it.
    pub fn whole(herd: Arc<Herd>, record: Record, now: Moment) -> World {
        let mut world = World {
            hosts: Vec::new(),
            store: Shared::new(Store::new(record)),
            mail: Vec::new(),
            cut: BTreeSet::new(),
            ledger: Shared::new(Ledger::default()),
            stamps: vec![0; herd.names.len()],
            herd,
        };
        world.create(now);
        world
    }

    /// A node.
    pub fn host(&self, host: HostId) -> &Host {
        &self.hosts[host.index()]
    }

    /// A node, to change it.
    pub fn host_mut(&mut self, host: HostId) -> &mut Host {
        &mut self.hosts[host.index()]
    }

    /// A node's server.
    pub fn server(&self, host: HostId) -> &Server {
        &self.host(host).server
    }

    /// A node's server, to change it.
    pub fn server_mut(&mut self, host: HostId) -> &mut Server {
        self.host_mut(host).server.make_mut()
    }

    /// Whether packets get through in both directions, as TCP needs.
    pub fn linked(&self, one: HostId, other: HostId) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }

    /// A number that no other recovery or shutdown has. It depends on what this node has done, not
    /// on what others did before, so that the same events in another order come to the same state.
    fn next_stamp(&mut self, host: HostId) -> u32 {
        let count = &mut self.stamps[host.index()];
        *count += 1;
        *count << u16::BITS | u32::from(host.0)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hosts.hash(state);
        self.store.hash(state);
        // Messages overtake each other: their order says nothing.
        let mut mail: Vec<u64> = self.mail.iter().map(digest).collect();
        mail.sort_unstable();
        mail.hash(state);
        self.cut.hash(state);
        self.ledger.hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &World) -> bool {
        digest(self) == digest(other)
    }
}

impl Eq for World {}

/// A hash that is the same in every run.
fn digest<T: Hash>(value: &T) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
