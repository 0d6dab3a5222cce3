//! Where a herd's record, its lease and its address book are kept.
//!
//! One handle, [`Store`], over two engines: a SQLite file for the herd on one machine, etcd for
//! one across machines. A write is a compare-and-swap on the record's revision; a read may be
//! stale, and nothing is decided by it. Every request has a time limit, and what became of a
//! write that ran into it is told as it is: not known.

mod access;
mod contact;
mod error;
mod etcd;
mod location;
mod sqlite;
mod store;
mod watch;

pub use access::{Access, AccessError, ClientCertificate, Login};
pub use contact::Contact;
pub use error::{Cause, Effect, Request, StoreError};
pub use location::{ETCD_PORT, Endpoint, InvalidLocation, StoreLocation};
pub use store::{LeaderPlace, OpenError, REQUEST_MAX, Renewal, Snapshot, Store, Swap};
pub use watch::{Change, Watch};
