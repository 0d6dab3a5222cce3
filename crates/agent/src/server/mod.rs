//! This host's server: what it is now, and the changes that the core orders.
//!
//! Nothing is decided here. A look never waits for a change, and changes are made one at a time.

mod configure;
mod error;
mod follow;
mod foreign;
mod gate;
mod lead;
mod limits;
mod local_wal;
mod look;
mod members;
mod obedience;
mod overrides;
mod policy;
mod power;
mod rejoin;
mod said;
mod slots;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manada_core::action::Order;
use manada_core::input::Outcome;
use manada_core::obstacle::ForeignSetting;
use manada_core::position::RuleId;
use manada_core::server::ServerFacts;
use manada_herd::{Member, Node};
use manada_postgres::Session;
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::transport::Peer;
use tokio::sync::{Notify, watch as channel};

pub use error::OrderError;
pub use local_wal::LocalWalError;
use look::Eyes;
pub use look::LOOK_WITHIN;
pub use rejoin::RejoinError;
use watch::{Run, Watch};

/// This host's server. Cheap to clone; all clones are the same server.
#[derive(Clone, Debug)]
pub struct LocalServer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: Node,
    peer: Peer,
    watch: Watch,
    eyes: tokio::sync::Mutex<Eyes>,
    /// Held while an order is carried out.
    hands: tokio::sync::Mutex<()>,
    /// Held while files are worked on in another thread, which goes on when its order is dropped.
    file_work: Arc<tokio::sync::Mutex<()>>,
    /// Told when an order waits for the hands.
    order_waits: Notify,
    /// The session that the last order has left.
    left: Mutex<Option<(Run, Session)>>,
    members: Mutex<Vec<Member>>,
    /// The run of the server in which its checkpointer is known to have read that commits wait.
    obeyed: Mutex<Option<Run>>,
    /// Who else sets what commits wait for.
    foreign: channel::Sender<Option<ForeignSetting>>,
}

impl LocalServer {
    /// The server of a node, running or not. Changes nothing.
    pub fn new(node: Node) -> Result<LocalServer, OsUserError> {
        // Its home is its user's, as its data is, which a broken disk may have lost.
        let user = OsUser::of_data_directory(node.home.path())?;
        let peer = Peer {
            uid: user.uid(),
            gid: user.gid(),
        };
        let watch = Watch::new(&node.file.data_directory);
        let members = members::read(&node.home.members_file());
        Ok(LocalServer {
            shared: Arc::new(Shared {
                node,
                peer,
                watch,
                eyes: tokio::sync::Mutex::default(),
                hands: tokio::sync::Mutex::default(),
                file_work: Arc::default(),
                order_waits: Notify::new(),
                left: Mutex::default(),
                members: Mutex::new(members),
                obeyed: Mutex::default(),
                foreign: channel::Sender::new(None),
            }),
        })
    }

    /// What the server is now. `known_rule` is the promise's: the highest rule in the server's WAL
    /// for as long as it can't be asked. Takes a few milliseconds, and never much longer than
    /// [`LOOK_WITHIN`].
    pub async fn look(&self, known_rule: RuleId) -> ServerFacts {
        let mut eyes = self.shared.eyes.lock().await;
        self.shared.look(&mut eyes, known_rule).await
    }

    /// Carries out an order about the server, and ends when its effect was seen, or its bound has
    /// passed. An order may be given again after any error.
    ///
    /// # Errors
    /// [`OrderError`] says what was in the way; [`OrderError::NotOurs`] where the order is for
    /// somebody else.
    pub async fn carry_out(&self, order: &Order) -> Result<Outcome, OrderError> {
        self.shared.order_waits.notify_waiters();
        let _hands = self.shared.hands.lock().await;
        let Some(within) = bound(order) else {
            return self.shared.carry_out(order).await;
        };
        match tokio::time::timeout(within, self.shared.carry_out(order)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(OrderError::TimedOut { within }),
        }
    }

    /// Ends within milliseconds of the postmaster's death, whoever started it; once for each death
    /// of a server that was seen to run.
    pub async fn died(&self) {
        self.shared.watch.died().await;
    }

    /// Has the server be what a protected one must be: its settings, an access rule and a slot for
    /// each of the herd's members, any of which may come to lead. The gate stays as it is. Nothing
    /// happens where nothing has changed. An order names a leader by these members, and never waits
    /// for this.
    ///
    /// # Errors
    /// [`OrderError`] says what was in the way; [`OrderError::GaveWay`] where it was an order.
    pub async fn admit_members(&self, members: &[Member]) -> Result<(), OrderError> {
        let Ok(_hands) = self.shared.hands.try_lock() else {
            return Err(OrderError::GaveWay);
        };
        tokio::select! {
            biased;
            () = self.shared.order_waits.notified() => Err(OrderError::GaveWay),
            admitted = self.shared.admit_members(members) => admitted,
        }
    }

    /// The members that were admitted last, also before the agent's last start.
    pub fn members(&self) -> Vec<Member> {
        self.shared.lock_members().clone()
    }

    /// The members by the herd's own table, as far as this server has replayed it.
    ///
    /// # Errors
    /// [`OrderError`] where the server does not answer.
    pub async fn read_members(&self) -> Result<Vec<Member>, OrderError> {
        self.shared.read_members().await
    }
}

/// How long an order may take that has no bound of its own: a server that hangs must not keep the
/// order to stop it from being carried out.
fn bound(order: &Order) -> Option<Duration> {
    match order {
        Order::Checkpoint
        | Order::StopReceiving
        | Order::Follow { .. }
        | Order::Promote
        | Order::FetchWal { .. }
        | Order::SetGate(_)
        | Order::Enforce(_) => Some(Duration::from_secs(12)),
        Order::WriteRule(_) => Some(Duration::from_secs(5)),
        Order::StartStandby { .. }
        | Order::StartPrimary
        | Order::Stop(_)
        | Order::Rejoin { .. }
        | Order::Swap { .. }
        | Order::RenewLease { .. }
        | Order::Promise(_)
        | Order::Send { .. }
        | Order::ProbeLeader { .. }
        | Order::Deadman { .. } => None,
    }
}

impl Shared {
    async fn carry_out(&self, order: &Order) -> Result<Outcome, OrderError> {
        let done = match order {
            Order::StartStandby { follow } => self.start_standby(follow.as_ref()).await,
            Order::StartPrimary => self.start_primary().await,
            Order::Checkpoint => self.checkpoint().await,
            Order::Stop(how) => self.stop(*how).await,
            Order::StopReceiving => self.stop_receiving().await,
            Order::Follow { leader } => self.follow(leader).await,
            Order::Promote => self.promote().await,
            Order::WriteRule(rule) => {
                let lsn = self.write_rule(rule).await?;
                return Ok(Outcome::RuleWritten { lsn });
            }
            Order::Enforce(enforced) => self.enforce(enforced).await,
            Order::SetGate(gate) => self.set_gate(*gate).await,
            Order::FetchWal { from, upto } => self.fetch_wal(from, *upto).await,
            Order::Rejoin {
                leader,
                diverged_at,
                rung,
            } => self.rejoin(leader, *diverged_at, *rung).await,
            Order::Swap { .. }
            | Order::RenewLease { .. }
            | Order::Promise(_)
            | Order::Send { .. }
            | Order::ProbeLeader { .. }
            | Order::Deadman { .. } => Err(OrderError::NotOurs),
        };
        done.map(|()| Outcome::Done)
    }

    fn lock_members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for an order: the one that the last order has left, or a new one.
    async fn session(&self) -> Result<Session, OrderError> {
        let left = self.lock_left().take();
        match left {
            Some((run, session)) if self.watch.watched() == Some(run) && !session.is_closed() => {
                Ok(session)
            }
            Some(_) | None => Ok(self.open().await?),
        }
    }

    /// Leaves a session to the next order.
    fn leave(&self, session: Session) {
        *self.lock_left() = self.watch.watched().map(|run| (run, session));
    }

    fn lock_left(&self) -> MutexGuard<'_, Option<(Run, Session)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_obeyed(&self) -> MutexGuard<'_, Option<Run>> {
        self.obeyed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
