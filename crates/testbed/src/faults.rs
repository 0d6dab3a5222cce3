//! Faults, one file per family. Each lasts as long as the value that stands for it.

mod disk;
mod link;

pub(crate) use disk::unmount_below;
pub use disk::{ReadOnly, SmallDisk};
pub use link::{Partition, SlowLink};
