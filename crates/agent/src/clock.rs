//! The clock that decisions go by: `CLOCK_BOOTTIME`, which runs on while the machine sleeps.

use std::time::Duration;

use manada_core::timer::Moment;
use rustix::time::{ClockId, clock_gettime};

/// The time now.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Moment(Duration::new(seconds, nanoseconds))
}

/// How long it is until then; nothing where it has passed.
pub fn until(moment: Moment) -> Duration {
    moment.0.saturating_sub(now().0)
}

/// How long ago that was.
pub fn since(moment: Moment) -> Duration {
    now().0.saturating_sub(moment.0)
}
