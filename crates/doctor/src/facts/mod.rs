//! What is so: read once from each server, then only looked at.

mod access;
mod archive;
mod certificate;
mod clock;
mod config;
mod databases;
mod gather;
mod identity;
mod recovery;
mod replication;
mod roles;
mod settings;
mod source;
mod transactions;
mod wal_disk;

use std::time::Duration;

use manada_model::{SystemIdentifier, TimelineId};

pub use access::{AccessRule, ConnectionType};
pub use archive::{ArchiveQueue, Archiver};
pub use certificate::Certificate;
pub use clock::Clock;
pub use config::{FileEntry, RoleSetting};
pub use databases::{Database, Unlogged};
pub use gather::{Target, gather};
pub use identity::{Identity, Rights};
pub use recovery::{Forks, Recovery, ReplayState};
pub use replication::{Slot, SlotKind, WalReceiver, WalSender, WalStatus};
pub use roles::Md5Roles;
pub use settings::{Setting, SettingOrigin, Settings};
pub use source::{Fact, Right, Source, Unknown, Why};
pub use transactions::{OpenTransaction, PreparedTransaction};
pub use wal_disk::WalDisk;

/// All that is known of a herd at one time.
#[derive(Clone, Debug, Default)]
pub struct Herd {
    /// The servers that answered.
    pub servers: Vec<Server>,
    /// The servers that did not.
    pub unreached: Vec<Unreached>,
    /// What counts as old, large or soon.
    pub limits: Limits,
}

/// What one server said.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it is called here: its node's name, else its address.
    pub name: String,
    /// Which server it is, and what the session may read.
    pub identity: Identity,
    /// Its clock against this host's.
    pub clock: Clock,
    /// Its settings.
    pub settings: Settings,
    /// The entries of its configuration files.
    pub file_entries: Fact<Vec<FileEntry>>,
    /// The lines of its `pg_hba.conf`.
    pub access_rules: Fact<Vec<AccessRule>>,
    /// Settings of roles and databases.
    pub role_settings: Fact<Vec<RoleSetting>>,
    /// The roles whose password is kept as an MD5 hash.
    pub md5_roles: Fact<Md5Roles>,
    /// Its replication slots.
    pub slots: Fact<Vec<Slot>>,
    /// Who receives WAL from it.
    pub walsenders: Fact<Vec<WalSender>>,
    /// Its walreceiver; none where none runs.
    pub walreceiver: Fact<Option<WalReceiver>>,
    /// How far its recovery is; none where it is not in recovery.
    pub recovery: Fact<Option<Recovery>>,
    /// The timelines its own descends from.
    pub forks: Fact<Forks>,
    /// How archiving goes.
    pub archiver: Fact<Archiver>,
    /// What waits to be archived.
    pub archive_queue: Fact<ArchiveQueue>,
    /// The disk its WAL is on.
    pub wal_disk: Fact<WalDisk>,
    /// Its databases.
    pub databases: Fact<Vec<Database>>,
    /// Unlogged tables, database by database.
    pub unlogged: Vec<Fact<Unlogged>>,
    /// Open transactions.
    pub transactions: Fact<Vec<OpenTransaction>>,
    /// Prepared transactions.
    pub prepared: Fact<Vec<PreparedTransaction>>,
    /// The certificate it shows; none without TLS.
    pub certificate: Fact<Option<Certificate>>,
}

/// A server that gave no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// What it is called here.
    pub name: String,
    /// What the attempt came to.
    pub error: String,
    /// Whether it said that it takes no sessions because `hot_standby` is off.
    pub hot_standby_off: bool,
}

/// What counts as old, large or soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A transaction open for longer holds back vacuum for longer than it should.
    pub transaction_age_max: Duration,
    /// A prepared transaction that is older has been forgotten.
    pub prepared_age_max: Duration,
    /// More segments than this wait to be archived: the archive does not keep up.
    pub archive_queue_segments_max: u64,
    /// An inactive slot that retains more than this is graver than one that does not.
    pub slot_retained_bytes_max: u64,
    /// A WAL disk with a smaller part free, in percent, is nearly full.
    pub wal_disk_free_percent_min: u8,
    /// Two servers' clocks may differ by this much.
    pub clock_skew_max: Duration,
    /// A certificate that ends sooner is worth a warning.
    pub certificate_left_min: Duration,
    /// An age of the oldest transaction id that vacuum should never let come, in transactions.
    pub xid_age_max: u64,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            transaction_age_max: Duration::from_secs(3_600),
            prepared_age_max: Duration::from_secs(300),
            archive_queue_segments_max: 32,
            slot_retained_bytes_max: 1 << 30,
            wal_disk_free_percent_min: 10,
            clock_skew_max: Duration::from_secs(2),
            certificate_left_min: 30 * DAY,
            xid_age_max: 1_000_000_000,
        }
    }
}

impl Herd {
    /// The servers that are not in recovery. More than one is a mistake of its own.
    pub fn primaries(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| !server.in_recovery())
    }

    /// The servers that are in recovery.
    pub fn standbys(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.in_recovery())
    }

    /// The one primary, for rules that need it beside a standby.
    pub fn primary(&self) -> Result<&Server, Unknown> {
        let missing = || Unknown::new(Source::Connection, Why::NoPrimary);
        self.primaries().next().ok_or_else(missing)
    }

    /// The cluster it is a herd of.
    pub fn system_identifier(&self) -> Option<SystemIdentifier> {
        let first = self.primaries().next().or(self.servers.first())?;
        Some(first.identity.system_identifier)
    }
}

impl Server {
    /// Whether it is a standby, by its own word.
    pub fn in_recovery(&self) -> bool {
        self.identity.in_recovery
    }

    /// The timeline it is on.
    pub fn timeline(&self) -> TimelineId {
        self.identity.timeline
    }
}
