//! Waiting for a condition, with a bound, instead of sleeping.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a test waits for what it says must come, before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Looks until `look` says yes, at most [`PATIENCE`] long.
///
/// # Panics
/// When it has not come true by then; `what` names it.
#[track_caller]
pub fn wait_until(what: &str, look: impl FnMut() -> bool) {
    assert!(
        poll_until(PATIENCE, look),
        "waited {PATIENCE:?} in vain until {what}"
    );
}

/// Looks until `read` gives `expected`, at most [`PATIENCE`] long.
///
/// # Panics
/// When it still gives something else by then; both are shown.
#[track_caller]
pub fn wait_for<T: PartialEq + Debug>(what: &str, expected: T, mut read: impl FnMut() -> T) {
    let mut last = None;
    let came = poll_until(PATIENCE, || {
        let value = read();
        let came = value == expected;
        last = Some(value);
        came
    });
    assert!(
        came,
        "waited {PATIENCE:?} in vain until {what} is {expected:?}: it is {last:?}"
    );
}

/// Looks until `look` says yes or `limit` has passed; whether it said yes. Looks at least once.
pub fn poll_until(limit: Duration, mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if look() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
