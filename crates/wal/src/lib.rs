//! The write-ahead log and base backups: clone, archive, restore.

pub mod clone;
pub mod replication;
