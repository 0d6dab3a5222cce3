//! The vocabulary of a herd: names, positions, policies and what servers said. No IO.

pub mod address;
mod herd_status;
mod lsn;
mod millis;
mod name;
mod server_status;
mod start_failure;
mod sync_policy;
mod system_identifier;
mod text_form;
mod timeline;
mod timeline_history;
mod version;
pub mod wording;

pub use herd_status::{
    Answer, HerdStatus, Lag, LagPoint, Loss, LowLimit, NoAnswer, Node, NodeState, PolicyState,
    Problem, Role, UnknownLoss, Upstream,
};
pub use lsn::{Lsn, ParseLsnError};
pub use name::{HerdName, InvalidName, NodeName, SlotName};
pub use server_status::{
    ArchiveMode, Archiver, Member, PolicySetting, PrimaryStatus, Recovery, Replay, Rights,
    SenderAddress, ServerStatus, Slot, SlotKind, SlotWal, StandbyStatus, SyncState,
    SynchronousCommit, SynchronousCommitOverride, Visible, WaitingCommits, Walreceiver, Walsender,
    WalsenderProgress, WalsenderState,
};
pub use start_failure::{StartFailure, StartTrouble};
pub use sync_policy::{ParseSyncPolicyError, StandbyName, SyncMethod, SyncPolicy, SyncRule};
pub use system_identifier::SystemIdentifier;
pub use timeline::{TimelineId, WalPosition};
pub use timeline_history::{ParseHistoryError, TimelineHistory};
pub use version::{MajorVersion, ServerVersion, UnsupportedVersion};
