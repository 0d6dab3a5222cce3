//! What one server said of itself, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::millis;
use crate::{Lsn, ServerVersion, SlotName, SyncPolicy, SystemIdentifier, TimelineId, WalPosition};

/// Everything a server was asked, as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerStatus {
    /// When the answer came, by this machine's clock.
    pub answered_at: Timestamp,
    /// From the question to the answer.
    #[serde(rename = "round_trip_ms", with = "millis")]
    pub round_trip: Duration,
    /// The server's own clock in that answer.
    pub server_time: Timestamp,
    /// When its postmaster started.
    pub started_at: Timestamp,
    /// Its version.
    pub version: ServerVersion,
    /// The cluster it belongs to.
    pub system_identifier: SystemIdentifier,
    /// `cluster_name`; empty where it is not set.
    pub cluster_name: String,
    /// The address at which it was asked; `None` over a Unix socket.
    pub address: Option<IpAddr>,
    /// The `port` it listens on.
    pub port: u16,
    /// What the role that asked may see.
    pub rights: Rights,
    /// Primary or standby, and where in the WAL.
    pub recovery: Recovery,
    /// The receivers it sends WAL to (`pg_stat_replication`). On a standby these are cascades.
    pub walsenders: Vec<Walsender>,
    /// Its physical and logical replication slots.
    pub slots: Vec<Slot>,
    /// What its commits wait for. A standby's takes effect once it is promoted.
    pub policy: PolicySetting,
    /// The settings of which a standby must not have less than its primary, by name. In JSON the
    /// problem has them.
    #[serde(skip)]
    pub recovery_limits: BTreeMap<String, u32>,
    /// Its archiver.
    pub archiver: Archiver,
    /// The herd's members, as table `manada.member` has them; empty where there is none.
    pub members: Vec<Member>,
}

/// What the role that asked may see. Every server shows its own positions and slots to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// Privileges of `pg_read_all_stats`: walsenders' progress, the walreceiver, who waits.
    pub statistics: bool,
    /// Superuser.
    pub superuser: bool,
}

/// A fact, or that the role that asked may not see it. A hidden fact is not an absent one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visible<T> {
    /// The server showed it.
    Shown(T),
    /// The server has it and does not show it to this role.
    #[default]
    Hidden,
}

impl<T> Visible<T> {
    /// The fact, where it was shown.
    pub fn shown(&self) -> Option<&T> {
        match self {
            Visible::Shown(fact) => Some(fact),
            Visible::Hidden => None,
        }
    }
}

/// A hidden fact is the string `"hidden"`.
impl<T: Serialize> Serialize for Visible<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Visible::Shown(fact) => fact.serialize(serializer),
            Visible::Hidden => serializer.serialize_str("hidden"),
        }
    }
}

/// Whether a server takes writes or follows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum Recovery {
    /// `pg_is_in_recovery()` is false.
    Primary(PrimaryStatus),
    /// `pg_is_in_recovery()` is true.
    Standby(Box<StandbyStatus>),
}

/// A server that takes writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrimaryStatus {
    /// The timeline it writes.
    pub timeline: TimelineId,
    /// Where it has written up to (`pg_current_wal_lsn`).
    pub write_lsn: Lsn,
    /// What it has made durable itself (`pg_current_wal_flush_lsn`). Nothing beyond is sent.
    pub flush_lsn: Lsn,
    /// Commits that wait for a synchronous standby at this moment.
    pub waiting_commits: Visible<WaitingCommits>,
}

/// Backends in `wait_event = 'SyncRep'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WaitingCommits {
    /// How many.
    pub count: u32,
    /// How long ago the oldest one's statement began.
    #[serde(rename = "longest_ms", with = "millis::option")]
    pub longest: Option<Duration>,
}

/// A server in recovery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StandbyStatus {
    /// The timeline it receives or, without a walreceiver, last recovered; `None` where it can't
    /// be told.
    pub timeline: Option<TimelineId>,
    /// The end of what streaming replication has received and flushed here
    /// (`pg_last_wal_receive_lsn`); `None` where it never streamed since its start.
    pub receive_lsn: Option<Lsn>,
    /// The end of what it has replayed (`pg_last_wal_replay_lsn`).
    pub replay_lsn: Option<Lsn>,
    /// The commit time, on the primary's clock, of the last transaction replayed.
    pub last_replayed_commit_at: Option<Timestamp>,
    /// Whether replay is held.
    pub replay: Replay,
    /// `recovery_min_apply_delay`.
    #[serde(rename = "apply_delay_ms", with = "millis")]
    pub apply_delay: Duration,
    /// Its walreceiver; `None` where none runs.
    pub walreceiver: Visible<Option<Walreceiver>>,
    /// The name its walreceiver gives itself: `application_name` of `primary_conninfo`, else
    /// `cluster_name`, else `walreceiver`.
    pub application_name: Visible<String>,
    /// Where `primary_conninfo` says it shall receive from, in that order.
    pub configured_upstreams: Visible<Vec<SenderAddress>>,
}

/// A server a standby receives from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct SenderAddress {
    /// A name, an address or a socket's directory.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for SenderAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `pg_get_wal_replay_pause_state()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// WAL is replayed as it comes.
    Running,
    /// A pause was asked for and is not reached yet.
    PauseRequested,
    /// Replay is held until someone resumes it.
    Paused,
}

/// The process on a standby that receives WAL (`pg_stat_wal_receiver`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Walreceiver {
    /// `status`, such as `streaming` or `waiting`.
    pub state: String,
    /// The server it receives from.
    pub sender: Option<SenderAddress>,
    /// The slot it uses there.
    pub slot_name: Option<String>,
    /// Written here, perhaps not flushed yet.
    pub written_lsn: Option<Lsn>,
    /// Flushed here.
    pub flushed_lsn: Option<Lsn>,
    /// When the sender was last heard of, by this server's clock.
    pub last_message_at: Option<Timestamp>,
}

/// A process that sends WAL to one receiver (a row of `pg_stat_replication`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Walsender {
    /// Its process id.
    pub pid: i32,
    /// The receiver's name.
    pub application_name: String,
    /// The slot it serves, where it does.
    pub slot_name: Option<SlotName>,
    /// How far it is.
    pub progress: Visible<WalsenderProgress>,
}

/// How far a receiver is, by its last reply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WalsenderProgress {
    /// Where the receiver connects from; `None` for a Unix socket.
    pub client_addr: Option<IpAddr>,
    /// When this connection began, by the server's clock.
    pub connected_at: Option<Timestamp>,
    /// What the walsender is doing.
    pub state: WalsenderState,
    /// Sent to the receiver.
    pub sent_lsn: Option<Lsn>,
    /// Written there.
    pub write_lsn: Option<Lsn>,
    /// Flushed there.
    pub flush_lsn: Option<Lsn>,
    /// Replayed there.
    pub replay_lsn: Option<Lsn>,
    /// From the flush here to the news that it was written there; `None` once idle.
    #[serde(rename = "write_lag_ms", with = "millis::option")]
    pub write_lag: Option<Duration>,
    /// The same for flushed.
    #[serde(rename = "flush_lag_ms", with = "millis::option")]
    pub flush_lag: Option<Duration>,
    /// The same for replayed.
    #[serde(rename = "replay_lag_ms", with = "millis::option")]
    pub replay_lag: Option<Duration>,
    /// What it counts for in the policy.
    pub sync_state: SyncState,
    /// Its priority in the policy; 0 where it is not in it.
    pub sync_priority: u32,
    /// When the receiver last said where it is, by the receiver's clock.
    pub replied_at: Option<Timestamp>,
}

/// `pg_stat_replication.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WalsenderState {
    /// Starting.
    Startup,
    /// Behind, and sending what is missing.
    Catchup,
    /// Has caught up. Only these count for a synchronous commit.
    Streaming,
    /// Sending a base backup.
    Backup,
    /// Ending.
    Stopping,
}

/// `pg_stat_replication.sync_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    /// Not in the policy.
    Async,
    /// Takes over once a synchronous one fails.
    Potential,
    /// Commits wait for it.
    Sync,
    /// One of those any of which commits wait for.
    Quorum,
}

/// A replication slot (a row of `pg_replication_slots`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slot {
    /// Its name.
    pub name: SlotName,
    /// Physical or logical.
    pub kind: SlotKind,
    /// Gone when its session ends.
    pub temporary: bool,
    /// The process that uses it now; `None` where nobody does.
    pub active_pid: Option<i32>,
    /// The oldest WAL it holds; `None` where it holds none yet, or no more.
    pub restart_lsn: Option<Lsn>,
    /// WAL from there up to the server's position.
    pub retained_bytes: Option<u64>,
    /// Whether that WAL is still there.
    pub wal_status: Option<SlotWal>,
    /// How much more may be written until it is at risk; `None` without `max_slot_wal_keep_size`.
    pub safe_wal_size_bytes: Option<i64>,
    /// Since when nobody uses it (PostgreSQL 17 and newer).
    pub inactive_since: Option<Timestamp>,
    /// Why it was invalidated (PostgreSQL 17 and newer, physical slots too).
    pub invalidation: Option<String>,
}

/// `pg_replication_slots.slot_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// Holds WAL for a standby.
    Physical,
    /// Decodes WAL.
    Logical,
}

/// `pg_replication_slots.wal_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotWal {
    /// Within `max_wal_size`.
    Reserved,
    /// Beyond `max_wal_size`, still held.
    Extended,
    /// About to be removed at the next checkpoint.
    Unreserved,
    /// Gone: what used the slot must be cloned anew.
    Lost,
}

/// What commits wait for, and how far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicySetting {
    /// `synchronous_standby_names` as it stands.
    pub standby_names: String,
    /// The same, read; `None` where this program can't.
    pub policy: Option<SyncPolicy>,
    /// `synchronous_commit` of the session that asked, so the default of its role and database.
    pub synchronous_commit: SynchronousCommit,
    /// Roles and databases whose default differs (`ALTER ROLE … SET`, `ALTER DATABASE … SET`).
    pub overrides: Vec<SynchronousCommitOverride>,
}

/// `synchronous_commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SynchronousCommit {
    /// Not even flushed on the primary when acknowledged.
    Off,
    /// Flushed on the primary alone: the policy is passed by.
    Local,
    /// Written, not flushed, on the standbys.
    RemoteWrite,
    /// Flushed on the standbys.
    On,
    /// Replayed, so visible, on the standbys.
    RemoteApply,
}

/// A default of `synchronous_commit` for a role, a database or both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SynchronousCommitOverride {
    /// The role; `None` for all.
    pub role: Option<String>,
    /// The database; `None` for all.
    pub database: Option<String>,
    /// Its default.
    pub value: SynchronousCommit,
}

/// The archiver (`pg_stat_archiver` and its settings).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Archiver {
    /// Whether WAL is archived here.
    pub mode: ArchiveMode,
    /// Whether a command or library to do it with is set.
    pub has_command: bool,
    /// Segments archived since the statistics were reset.
    pub archived_count: u64,
    /// The last segment archived.
    pub last_archived_wal: Option<String>,
    /// When.
    pub last_archived_at: Option<Timestamp>,
    /// Attempts that failed.
    pub failed_count: u64,
    /// The last segment that failed.
    pub last_failed_wal: Option<String>,
    /// When.
    pub last_failed_at: Option<Timestamp>,
}

impl Archiver {
    /// Whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.mode != ArchiveMode::Off
            && self
                .last_failed_at
                .is_some_and(|failed| self.last_archived_at.is_none_or(|done| failed > done))
    }
}

/// `archive_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArchiveMode {
    /// Nothing is archived.
    Off,
    /// While it is the primary.
    On,
    /// While it is a standby, too.
    Always,
}

/// A row of table `manada.member`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The node's name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl ServerStatus {
    /// Its facts as a primary, where it is one.
    pub fn primary(&self) -> Option<&PrimaryStatus> {
        match &self.recovery {
            Recovery::Primary(primary) => Some(primary),
            Recovery::Standby(_) => None,
        }
    }

    /// Its facts as a standby, where it is one.
    pub fn standby(&self) -> Option<&StandbyStatus> {
        match &self.recovery {
            Recovery::Primary(_) => None,
            Recovery::Standby(standby) => Some(standby),
        }
    }

    /// The timeline it is on, where that can be told.
    pub fn timeline(&self) -> Option<TimelineId> {
        match &self.recovery {
            Recovery::Primary(primary) => Some(primary.timeline),
            Recovery::Standby(standby) => standby.timeline,
        }
    }

    /// Up to where its WAL is durable: flushed by a primary, received or replayed by a standby.
    pub fn flush_lsn(&self) -> Option<Lsn> {
        match &self.recovery {
            Recovery::Primary(primary) => Some(primary.flush_lsn),
            Recovery::Standby(standby) => standby.receive_lsn.max(standby.replay_lsn),
        }
    }

    /// [`ServerStatus::flush_lsn`] with its timeline.
    pub fn position(&self) -> Option<WalPosition> {
        Some(WalPosition {
            timeline: self.timeline()?,
            lsn: self.flush_lsn()?,
        })
    }
}
