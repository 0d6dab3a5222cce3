//! The handle on a herd's store, and what both engines promise.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use manada_core::lease::Lease;
use manada_core::record::{Record, Revision, Versioned};
use manada_model::address::HostAddress;
use manada_model::{HerdName, NodeName};

use crate::access::{Access, AccessError};
use crate::contact::Contact;
use crate::error::{Cause, StoreError};
use crate::etcd::Etcd;
use crate::location::StoreLocation;
use crate::sqlite::Sqlite;
use crate::watch::Watch;

/// How long one request may take, its connection included. Short against the lease, so that
/// several tries fit into it; the next try takes a fresh connection.
pub const REQUEST_MAX: Duration = Duration::from_millis(400);

/// A herd's store. Copies share their connections.
#[derive(Clone)]
pub struct Store {
    location: Arc<StoreLocation>,
    engine: Arc<dyn Engine>,
}

/// What a store holds of a herd at some moment: maybe not the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The record; `None` before the first one.
    pub record: Option<Versioned<Record>>,
    /// The leader's last sign of life.
    pub lease: Option<Lease>,
    /// Where the nodes are.
    pub book: BTreeMap<NodeName, Contact>,
}

/// What became of a record that was to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It is in the store.
    Swapped {
        /// With the revision that it has there.
        record: Versioned<Record>,
        /// The lease at that moment: the last that was written under a record before this one.
        lease: Option<Lease>,
    },
    /// It is not: this is there; `None` where there is no record at all.
    Conflict(Option<Versioned<Record>>),
}

/// What became of a lease that was to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is in the store.
    Renewed,
    /// It is not, since the record has changed: this is there; `None` where there is none.
    Conflict(Option<Versioned<Record>>),
}

/// Where the store's own leader is, as far as that matters to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderPlace {
    /// Elsewhere, or nobody has elected since that was seen to.
    Settled,
    /// It was on this host, and another member leads now.
    Moved,
    /// It is on this host, and no other member can lead now; or nobody leads yet.
    NoSuccessor,
}

/// A store can't be used from here at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file can't be made or read, or is no store.
    #[error("can't open the store in {}", path.display())]
    Sqlite {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The certificates or the password.
    #[error("can't use the store's credentials")]
    Access(#[from] AccessError),
}

impl Store {
    /// Opens the store. A SQLite file is made if it is not there; an etcd need not answer yet.
    pub async fn open(
        location: &StoreLocation,
        herd: &HerdName,
        access: &Access,
    ) -> Result<Store, OpenError> {
        let engine: Arc<dyn Engine> = match location {
            StoreLocation::Sqlite(path) => Arc::new(Sqlite::open(path, herd).await?),
            StoreLocation::Etcd {
                tls,
                endpoints,
                prefix,
            } => Arc::new(Etcd::new(*tls, endpoints, prefix, herd, access)?),
        };
        Ok(Store {
            location: Arc::new(location.clone()),
            engine,
        })
    }

    /// Where it is.
    pub fn location(&self) -> &StoreLocation {
        &self.location
    }

    /// Reads everything.
    pub async fn read(&self) -> Result<Snapshot, StoreError> {
        self.engine.read().await
    }

    /// Writes the first record, if there is none.
    pub async fn create(&self, record: &Record) -> Result<Swap, StoreError> {
        self.engine.write(None, record).await
    }

    /// Puts the record in place of the one with the revision `expected`.
    pub async fn swap(&self, expected: Revision, record: &Record) -> Result<Swap, StoreError> {
        self.engine.write(Some(expected), record).await
    }

    /// Writes the lease, if the record still has the revision `expected`.
    pub async fn renew(&self, expected: Revision, lease: &Lease) -> Result<Renewal, StoreError> {
        self.engine.renew(expected, lease).await
    }

    /// Says where a node is.
    pub async fn register(&self, contact: &Contact) -> Result<(), StoreError> {
        self.engine.register(contact).await
    }

    /// Takes a node out of the address book.
    pub async fn unregister(&self, name: &NodeName) -> Result<(), StoreError> {
        self.engine.unregister(name).await
    }

    /// Sees to it that the store's own leader is not on this host, whose addresses are `own`, if
    /// another member can lead: a lost host then costs one election, and not two of which the
    /// second waits for the first. For whoever renews the lease; it asks nothing as long as the
    /// renewals show no election of the store.
    pub async fn keep_leader_off(&self, own: &[HostAddress]) -> Result<LeaderPlace, StoreError> {
        self.engine.keep_leader_off(own).await
    }

    /// Tells what is there, and then each change, until it is dropped. To be called within a
    /// tokio runtime.
    pub fn watch(&self) -> Watch {
        self.engine.watch()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.location)
    }
}

pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What an engine does. Each request ends within [`REQUEST_MAX`], holds up no other one, and is
/// atomic: either all of it is in the store, durably, or nothing.
pub(crate) trait Engine: Send + Sync {
    fn read(&self) -> Pending<'_, Snapshot>;

    /// Writes the record in place of the one with that revision, or of none.
    fn write<'a>(&'a self, expected: Option<Revision>, record: &'a Record) -> Pending<'a, Swap>;

    fn renew<'a>(&'a self, expected: Revision, lease: &'a Lease) -> Pending<'a, Renewal>;

    fn register<'a>(&'a self, contact: &'a Contact) -> Pending<'a, ()>;

    fn unregister<'a>(&'a self, name: &'a NodeName) -> Pending<'a, ()>;

    fn keep_leader_off<'a>(&'a self, own: &'a [HostAddress]) -> Pending<'a, LeaderPlace>;

    fn watch(&self) -> Watch;
}
