//! Replication commands: their text, and the rows that answer them.

pub mod base_backup;
pub mod identify_system;
pub mod replication_slot;
pub mod show;
pub mod start_replication;
pub mod timeline_history;
