//! The write-ahead log and base backups: clone, archive, restore.

pub mod archive;
pub mod clone;
pub mod replication;
