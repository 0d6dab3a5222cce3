//! The write-ahead log and base backups: clone, archive, restore, look at.

pub mod archive;
pub mod clone;
pub mod local;
pub mod replication;
