//! The vocabulary of a herd: names, positions, policies and what servers said. No IO.

mod lsn;
mod name;
mod system_identifier;
mod timeline;
mod version;

pub use lsn::{Lsn, ParseLsnError};
pub use name::{HerdName, InvalidName, NodeName, SlotName};
pub use system_identifier::SystemIdentifier;
pub use timeline::{TimelineId, WalPosition};
pub use version::{MajorVersion, ServerVersion, UnsupportedVersion};
