//! A herd that is protected: a server and an agent on each of some hosts, an etcd cluster beside
//! them, and a host for clients.

mod clock;
mod end;
mod manada;
mod node;
mod shape;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use clock::Clock;
pub use manada::ManadaHost;
pub use node::{Agent, HerdNode, TIMED_OUT};
pub use shape::Shape;

use crate::etcd::EtcdCluster;
use crate::host::Host;
use crate::network::Network;
use crate::programs::{Missing, Programs};
use crate::wait::{poll_until, wait_until};
use crate::workload::{self, Server};

/// How long a herd may take to come up.
const START_MAX: Duration = Duration::from_secs(60);

/// How many members etcd has, on the first hosts.
const STORE_MEMBERS_MAX: usize = 3;

/// The pause between two looks at a whole herd.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The nodes, what they rely on, and where their clients are. All of it ends with this.
#[derive(Debug)]
pub struct ProtectedHerd {
    // The order in which they end: an agent that outlived its store would only complain.
    nodes: Vec<HerdNode>,
    etcd: EtcdCluster,
    client: Host,
    synchronous: usize,
    _network: Network,
}

/// Why a herd is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotWhole {
    /// A member of etcd is down, or sees no leader.
    Store,
    /// This agent does not run.
    NoAgent(String),
    /// This server does not answer.
    Silent(String),
    /// Not one primary but these.
    Primaries(Vec<String>),
    /// Fewer followers stream than there are other nodes, or fewer hold commits up than shall.
    Followers {
        /// Who is the primary.
        primary: String,
        /// What it says of its followers.
        seen: String,
    },
}

impl fmt::Display for NotWhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotWhole::Store => f.write_str("a member of etcd is not well"),
            NotWhole::NoAgent(node) => write!(f, "no agent runs on {node}"),
            NotWhole::Silent(node) => write!(f, "the server of {node} does not answer"),
            NotWhole::Primaries(nodes) => write!(f, "primaries: {nodes:?}"),
            NotWhole::Followers { primary, seen } => {
                write!(f, "{primary} is followed by: {seen}")
            }
        }
    }
}

impl ProtectedHerd {
    /// A herd of `names` by the program `manada`: commits wait for any one of the standbys.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(
        manada: &Path,
        programs: &Programs,
        names: &[&str],
    ) -> Result<ProtectedHerd, Missing> {
        let network = Network::new()?;
        let hosts: Vec<Host> = names.iter().map(|name| network.host(name)).collect();
        let with_store = &hosts[..hosts.len().min(STORE_MEMBERS_MAX)];
        let etcd = EtcdCluster::start(with_store, &homes(with_store))?;
        let program = manada::install(&network, manada);
        let machines = hosts
            .iter()
            .map(|host| ManadaHost::new(host, &program, programs, false))
            .collect::<Result<Vec<_>, _>>()?;
        let nodes = manada::make(machines, shape::ONE, &etcd.uri());
        // Any one of them may be the one, so each holds commits up.
        let synchronous = names.len() - 1;
        let herd = ProtectedHerd::of(network, nodes, etcd, synchronous);
        herd.must_begin();
        Ok(herd)
    }

    /// A herd of that shape, with each node on a disk of its own that can fail, and with a clock
    /// that can jump.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_to_fail(
        manada: &Path,
        programs: &Programs,
        shape: Shape,
    ) -> Result<ProtectedHerd, Missing> {
        let network = Network::new()?;
        let hosts: Vec<Host> = shape
            .hosts()
            .into_iter()
            .map(|it| network.host(it))
            .collect();
        let etcd = EtcdCluster::start(&hosts, &homes(&hosts))?;
        let program = manada::install(&network, manada);
        let machines = hosts[..shape.nodes()]
            .iter()
            .map(|host| ManadaHost::new(host, &program, programs, true))
            .collect::<Result<Vec<_>, _>>()?;
        let nodes = manada::make(machines, shape.policy(), &etcd.uri());
        let herd = ProtectedHerd::of(network, nodes, etcd, shape.synchronous());
        herd.must_begin();
        if let Some(wish) = shape.wish() {
            // Its servers may be whole before the store has a record of the herd.
            wait_until("the herd does as it is told", || {
                let output = herd.primary().command(wish).output().expect("manada runs");
                output.status.success()
            });
            herd.must_become_whole(START_MAX);
        }
        Ok(herd)
    }

    /// Waits until it is whole, and its first reign has its rule: a write before would be of none.
    fn must_begin(&self) {
        self.must_become_whole(START_MAX);
        wait_until("the first reign has begun", || !self.reigns().is_empty());
    }

    /// A herd of nodes that somebody else has set up on hosts of `network`. It is whole when so
    /// many of its standbys are `synchronous`.
    pub fn of(
        network: Network,
        nodes: Vec<HerdNode>,
        etcd: EtcdCluster,
        synchronous: usize,
    ) -> ProtectedHerd {
        ProtectedHerd {
            client: network.host("client"),
            nodes,
            etcd,
            synchronous,
            _network: network,
        }
    }

    /// Its nodes, in the order in which they were named.
    pub fn nodes(&self) -> &[HerdNode] {
        &self.nodes
    }

    /// The node of that name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn node(&self, name: &str) -> &HerdNode {
        let mut nodes = self.nodes.iter();
        nodes
            .find(|node| node.name() == name)
            .expect("a node of this herd")
    }

    /// Its store.
    pub fn etcd(&self) -> &EtcdCluster {
        &self.etcd
    }

    /// Where clients are: a host of its own.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// Its servers, as clients know them.
    pub fn servers(&self) -> Vec<Server> {
        self.nodes.iter().map(HerdNode::server).collect()
    }

    /// Makes the clients' role and table, on the primary.
    ///
    /// # Panics
    /// When it can't be done.
    #[track_caller]
    pub fn prepare_for_clients(&self) {
        self.primary().sql(&workload::preparation());
    }

    /// The primary of a whole herd.
    ///
    /// # Panics
    /// When there is not one.
    #[track_caller]
    pub fn primary(&self) -> &HerdNode {
        let primaries = self.primaries();
        assert_eq!(primaries.len(), 1, "primaries: {primaries:?}");
        primaries[0]
    }

    /// The standbys of a whole herd.
    pub fn standbys(&self) -> Vec<&HerdNode> {
        let standby = |node: &&HerdNode| node.in_recovery() == Some(true);
        self.nodes.iter().filter(standby).collect()
    }

    /// All servers that say they are primaries.
    pub fn primaries(&self) -> Vec<&HerdNode> {
        let primary = |node: &&HerdNode| node.in_recovery() == Some(false);
        self.nodes.iter().filter(primary).collect()
    }

    /// Whether all agents run, all servers answer, and all follow one primary as they shall.
    pub fn whole(&self) -> Result<(), NotWhole> {
        if !self.etcd.is_well() {
            return Err(NotWhole::Store);
        }
        let mut primaries = Vec::new();
        for node in &self.nodes {
            if !node.agent_runs() {
                return Err(NotWhole::NoAgent(node.name().to_owned()));
            }
            match node.in_recovery() {
                Some(true) => {}
                Some(false) => primaries.push(node),
                None => return Err(NotWhole::Silent(node.name().to_owned())),
            }
        }
        let [primary] = primaries.as_slice() else {
            let names = primaries.iter().map(|node| node.name().to_owned());
            return Err(NotWhole::Primaries(names.collect()));
        };
        let expected = format!("{} t ", self.nodes.len() - 1);
        let followers = primary.try_sql(&format!(
            "SELECT concat_ws(' ', count(*) FILTER (WHERE state = 'streaming'),
                 count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) >= {},
                 string_agg(concat_ws('/', application_name, state, sync_state), ', '))
             FROM pg_stat_replication",
            self.synchronous
        ));
        match followers {
            Ok(seen) if seen.starts_with(&expected) => Ok(()),
            Ok(seen) | Err(seen) => Err(NotWhole::Followers {
                primary: primary.name().to_owned(),
                seen,
            }),
        }
    }

    /// Waits until the herd is whole, and says how long it took; or why it is not.
    pub fn become_whole(&self, limit: Duration) -> Result<Duration, NotWhole> {
        let began = Instant::now();
        let mut last = Ok(());
        poll_until(limit, || {
            last = self.whole();
            if last.is_err() {
                // Asking a herd at work more often would disturb it.
                std::thread::sleep(LOOK_INTERVAL);
            }
            last.is_ok()
        });
        last.map(|()| began.elapsed())
    }

    /// As [`ProtectedHerd::become_whole`], for what must succeed.
    ///
    /// # Panics
    /// When it is not whole by then.
    #[track_caller]
    pub fn must_become_whole(&self, limit: Duration) {
        if let Err(why) = self.become_whole(limit) {
            panic!(
                "the herd is not whole after {limit:?}: {why}\n{}",
                self.last_words()
            );
        }
    }

    /// The end of each agent's log, for a message.
    pub fn last_words(&self) -> String {
        let words: Vec<String> = self.nodes.iter().map(HerdNode::last_words).collect();
        words.join("\n")
    }
}

/// The homes of hosts.
fn homes(hosts: &[Host]) -> Vec<PathBuf> {
    hosts.iter().map(|host| host.home().to_owned()).collect()
}
