//! The client side of PostgreSQL's replication protocol: bytes in, messages out. No IO.
//!
//! Everything here is a state machine over bytes that someone else reads and writes. What a
//! server sends is foreign: each decoder has a stated bound on the memory it takes, and returns
//! a typed error for whatever it does not know.
//!
//! | bytes | module |
//! | --- | --- |
//! | frames of the protocol | [`frame`] gives [`backend::BackendMessage`] |
//! | getting in | [`startup`], [`login`] |
//! | replication commands and their rows | [`command`], [`quote`] |
//! | `START_REPLICATION`'s copy stream | [`wal_stream`] |
//! | `BASE_BACKUP`'s copy stream | [`backup_stream`], then [`tar`] and [`manifest`] |

pub mod authentication;
pub mod backend;
pub mod backup_stream;
mod body;
pub mod command;
pub mod copy;
pub mod diagnostics;
pub mod entry_path;
pub mod frame;
mod json;
pub mod login;
pub mod manifest;
pub mod quote;
pub mod rows;
pub mod session;
pub mod startup;
pub mod tar;
pub mod timestamp;
pub mod wal_stream;
