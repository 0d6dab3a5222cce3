//! Faults, one file per family. Each lasts as long as the value that stands for it.

mod disk;
mod failing_sync;
mod link;
mod loop_disk;

pub(crate) use disk::unmount_below;
pub use disk::{ReadOnly, SmallDisk};
pub use failing_sync::FailingSync;
pub use link::{Partition, SlowLink};
pub use loop_disk::LoopDisk;
