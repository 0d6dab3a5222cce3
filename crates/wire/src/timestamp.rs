//! The protocol's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01 00:00 UTC.
const EPOCH_OFFSET_SECONDS: u64 = 946_684_800;

/// A point in time as the protocol carries it: microseconds since 2000-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let epoch = UNIX_EPOCH + Duration::from_secs(EPOCH_OFFSET_SECONDS);
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(match time.duration_since(epoch) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }
}
