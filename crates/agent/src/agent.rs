//! One node's agent from its start to its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manada_core::node::{Limits, Node as Core};
use manada_core::record::MemberRole;
use manada_core::server::Promise;
use manada_core::timer::Timings;
use manada_herd::{Home, Node, Protect};
use manada_model::{NodeName, SystemIdentifier};
use manada_postgres::os_user::OsUserError;
use manada_postgres::replace_file::FileOwner;
use manada_store::{Contact, OpenError, Snapshot, Store};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, watch};

use crate::agent_directory;
use crate::clock;
use crate::control::{ControlListenError, ControlListener, Desk};
use crate::daemon::{Daemon, Ears, Hands, Voices, Wish};
use crate::deadman::Deadman;
use crate::founding::Founding;
use crate::glance::{Glance, Who};
use crate::health::{HealthListenError, HealthListener, Sources};
use crate::journal::Journal;
use crate::loss::Lookout;
use crate::members;
use crate::memory::MemoryFile;
use crate::orders::{
    DeadmanOrders, Pace, Probe, PromiseOrders, ServerEyes, ServerOrders, StoreOrders,
};
use crate::peers::{Book, Identity, IdentityError, ListenError, Listener, Outbox};
use crate::promise_file::{PromiseError, PromiseFile};
use crate::server::LocalServer;
use crate::store_access::{StoreAccessError, store_of};
use crate::store_leader;

/// How much of what is heard may wait for the loop.
const HEARD_MAX: usize = 256;

/// How many wishes of whoever runs the agent may wait.
const WISHES_MAX: usize = 4;

/// How long the pause is after the book of addresses could not be written.
const REGISTER_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How much WAL of an asynchronous leader a failover may give up by itself, in bytes. An operator can
/// allow more for one failover.
const LOSS_BYTES_MAX: u64 = 1024 * 1024;

/// What an agent needs to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose agent it is.
    pub node: Node,
    /// Where its record is, and where it listens.
    pub protect: Protect,
    /// This very program, which is also the deadman's.
    pub program: PathBuf,
}

/// An agent that is ready to run.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    store: Store,
    server: LocalServer,
    identity: Identity,
    promise_file: PromiseFile,
    listener: Listener,
    health: HealthListener,
    control: ControlListener,
    _lock: File,
}

/// The agent can't be run.
#[derive(Debug, thiserror::Error)]
pub enum OpenAgentError {
    /// Its directory, or a file in it.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// Another one runs.
    #[error("an agent of this node runs already")]
    RunsAlready {
        /// Its process, if it has said so.
        pid: Option<i32>,
    },
    /// Nobody, or not us, may act as the server's user.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// What was promised is not known.
    #[error(transparent)]
    Promise(#[from] PromiseError),
    /// The node's certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What is said of the store.
    #[error(transparent)]
    Access(#[from] StoreAccessError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// It is another herd's.
    #[error(
        "the store holds a herd of this name around another cluster: {node} is of the cluster \
         {theirs}, this node of {ours}"
    )]
    OtherCluster {
        /// A node of that herd.
        node: NodeName,
        /// Its cluster.
        theirs: SystemIdentifier,
        /// This node's.
        ours: SystemIdentifier,
    },
    /// The port for the other agents.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The socket for operators' commands.
    #[error(transparent)]
    Control(#[from] ControlListenError),
    /// The port for load balancers and monitoring.
    #[error(transparent)]
    Health(#[from] HealthListenError),
}

/// By this the agent is told what it shall do.
#[derive(Clone, Debug)]
pub struct Reins {
    wishes: mpsc::Sender<Wish>,
}

impl Reins {
    /// Has the agent end. Its server goes on.
    pub async fn end(&self) {
        let _ = self.wishes.send(Wish::End).await;
    }

    /// Has the node belong to the herd with what its file says now.
    pub async fn reread(&self, settings: &Settings) {
        let _ = self.wishes.send(Wish::Be(contact(settings))).await;
    }
}

/// Makes what an agent needs of files, for a node that was not protected before: its directory, and
/// a promise of nothing.
pub fn prepare(home: &Home) -> Result<(), OpenAgentError> {
    let directory = agent_directory(home);
    match std::fs::create_dir(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(file_error(&directory, source)),
    }
    Ok(promise_file(&directory)?.create()?)
}

impl Agent {
    /// Opens all that it needs. A store that does not answer is waited for later.
    pub async fn open(settings: Settings) -> Result<Agent, OpenAgentError> {
        let node = &settings.node;
        let directory = agent_directory(&node.home);
        let lock = only_agent(&directory)?;
        let promise_file = promise_file(&directory)?;
        promise_file.read()?;
        let identity = Identity::load(&node.home)?;
        let server = LocalServer::new(node.clone())?;
        let listener = Listener::bind(settings.protect.listen).await?;
        let health = HealthListener::bind(settings.protect.health).await?;
        let control = ControlListener::bind(&node.home)?;
        let (location, access) = store_of(&settings.protect)?;
        let store = Store::open(&location, &node.file.herd, &access).await?;
        refuse_other_cluster(&store, node).await?;
        Ok(Agent {
            store,
            server,
            identity,
            promise_file,
            listener,
            health,
            control,
            _lock: lock,
            settings,
        })
    }

    /// Runs it. It ends when the reins, which are handed to `hold`, say so.
    pub async fn run(
        self,
        hold: impl FnOnce(Reins, watch::Receiver<Arc<Glance>>),
    ) -> Result<(), OpenAgentError> {
        let Settings { node, program, .. } = self.settings.clone();
        let directory = agent_directory(&node.home);
        let promise = self.promise_file.read()?;
        let own = contact(&self.settings);
        let memory_file = memory_file(&directory)?;
        let remembered = memory_file.read();

        let (told, told_to_loop) = mpsc::channel(HEARD_MAX);
        let (received, received_by_loop) = mpsc::channel(HEARD_MAX);
        let (wishes, wishes_to_loop) = mpsc::channel(WISHES_MAX);
        let glance = watch::Sender::new(Arc::new(Glance::at_start(clock::now())));
        let book = watch::Sender::new(Book::new());
        let pace = watch::Sender::new(Pace::Eager);
        let known_rule = watch::Sender::new(promise.rule);
        let members = watch::Sender::new(self.server.members());
        let register = watch::Sender::new(own.clone());
        let memory = watch::Sender::new(None);
        hold(Reins { wishes }, glance.subscribe());

        let eyes = ServerEyes::new(self.server.clone(), known_rule.subscribe(), told.clone());
        let hands = Hands {
            server: ServerOrders::start(self.server.clone(), eyes.clone()),
            store: StoreOrders::new(self.store.clone(), told.clone()),
            promises: PromiseOrders::start(self.promise_file.clone(), told.clone()),
            deadman: DeadmanOrders::start(Deadman::new(node.home.clone(), program), told.clone()),
            probe: Probe::new(node.clone(), book.subscribe(), told),
            outbox: Outbox::new(
                node.file.name.clone(),
                self.identity.clone(),
                book.subscribe(),
            ),
            journal: Journal::in_directory(&directory),
        };
        let ears = Ears {
            told: told_to_loop,
            received: received_by_loop,
            store: self.store.watch(),
            members: members.subscribe(),
            foreign: self.server.foreign_setting(),
            wishes: wishes_to_loop,
        };
        let sources = Sources {
            who: Arc::new(Who {
                herd: node.file.herd.clone(),
                node: node.file.name.clone(),
                system_identifier: node.file.system_identifier,
            }),
            glance: glance.subscribe(),
            book: book.subscribe(),
        };
        let desk = Desk {
            who: Arc::clone(&sources.who),
            store: self.store.location().to_string(),
            directory,
            glance: glance.subscribe(),
            book: book.subscribe(),
            received,
            identity: self.identity,
        };
        let founding = Founding {
            store: self.store.clone(),
            server: self.server.clone(),
            own: own.clone(),
            is_new: promise == Promise::default() && remembered.is_none(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(eyes.keep_looking(pace.subscribe()));
        tasks.spawn(self.listener.serve(desk.clone()));
        tasks.spawn(self.control.serve(desk));
        tasks.spawn(self.health.serve(sources));
        tasks.spawn(members::keep_reading(self.server, members));
        tasks.spawn(store_leader::keep_off(
            self.store.clone(),
            own.addresses.clone(),
            glance.subscribe(),
        ));
        tasks.spawn(keep_registered(self.store, register.subscribe()));
        tasks.spawn(founding.found());
        tasks.spawn(memory_file.keep(memory.subscribe()));
        let voices = Voices {
            glance,
            book,
            pace,
            known_rule,
            register,
            memory,
        };
        let limits = Limits {
            timings: Timings::default(),
            loss_bytes_max: LOSS_BYTES_MAX,
        };
        let core = Core::new(node.file.name.clone(), promise, limits);
        let lookout = Lookout::new(remembered);
        let daemon = Daemon::new(core, own, hands, voices, lookout);
        daemon.run(ears).await;
        tasks.shutdown().await;
        Ok(())
    }
}

/// A store that does not answer can't be looked at: then the leader does not admit this node, if it
/// is of another cluster.
async fn refuse_other_cluster(store: &Store, node: &Node) -> Result<(), OpenAgentError> {
    let Ok(Snapshot { book, .. }) = store.read().await else {
        return Ok(());
    };
    let ours = node.file.system_identifier;
    let mut others = book.into_values();
    match others.find(|contact| contact.system_identifier != ours) {
        None => Ok(()),
        Some(contact) => Err(OpenAgentError::OtherCluster {
            node: contact.name,
            theirs: contact.system_identifier,
            ours,
        }),
    }
}

/// Writes this node's entry into the book whenever it is not there.
async fn keep_registered(store: Store, mut register: watch::Receiver<Contact>) {
    while register.changed().await.is_ok() {
        let contact = register.borrow_and_update().clone();
        if let Err(error) = store.register(&contact).await {
            tracing::warn!(%error, "the book of addresses can't be written");
            tokio::time::sleep(REGISTER_AGAIN_AFTER).await;
            register.mark_changed();
        }
    }
}

/// This node's entry in the book.
fn contact(settings: &Settings) -> Contact {
    let file = &settings.node.file;
    Contact {
        name: file.name.clone(),
        addresses: file.addresses.clone(),
        postgres_port: Some(file.port),
        agent_port: settings.protect.listen.port(),
        role: MemberRole::Server {
            priority: settings.protect.priority,
        },
        system_identifier: file.system_identifier,
    }
}

fn promise_file(directory: &Path) -> Result<PromiseFile, OpenAgentError> {
    Ok(PromiseFile::in_directory(directory, owner_in(directory)?))
}

fn memory_file(directory: &Path) -> Result<MemoryFile, OpenAgentError> {
    Ok(MemoryFile::in_directory(directory, owner_in(directory)?))
}

/// Whom the agent's files belong to.
fn owner_in(directory: &Path) -> Result<FileOwner, OpenAgentError> {
    FileOwner::like(directory).map_err(|source| file_error(directory, source))
}

/// Held for as long as the agent runs; the kernel lets go of it when the process ends. It says which
/// process that is.
fn only_agent(directory: &Path) -> Result<File, OpenAgentError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| file_error(&path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let noted = file.set_len(0).and_then(|()| {
                let pid = std::process::id();
                file.write_all(pid.to_string().as_bytes())
            });
            noted.map_err(|source| file_error(&path, source))?;
            Ok(file)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text).ok();
            let pid = read.and_then(|_| text.parse().ok());
            Err(OpenAgentError::RunsAlready { pid })
        }
        Err(errno) => Err(file_error(&path, errno.into())),
    }
}

fn file_error(path: &Path, source: io::Error) -> OpenAgentError {
    OpenAgentError::File {
        path: path.to_path_buf(),
        source,
    }
}
