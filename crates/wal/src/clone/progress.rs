//! How far a clone is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a clone is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClonePhase {
    /// Connecting, looking at the target.
    Preparing,
    /// Waiting for the server's checkpoint.
    Checkpoint,
    /// Receiving files and, beside them, WAL.
    Copying,
    /// All files are here and verified; receiving the last of the WAL.
    WalTail,
    /// Waiting until the disk has everything.
    Flushing,
    /// The directory has its name.
    Done,
}

/// How far a clone is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CloneProgress {
    /// What it is at.
    pub phase: ClonePhase,
    /// Bytes of files received so far.
    pub bytes_done: u64,
    /// How many there will be, by the server's estimate, and never less than those done. 0 until
    /// the server has said it.
    pub bytes_total: u64,
    /// How long the files have been coming.
    pub copying_for: Duration,
}

impl CloneProgress {
    /// Bytes in a second, over all the time that files have been coming.
    pub fn rate_bytes_per_second(&self) -> f64 {
        match self.copying_for.as_secs_f64() {
            0.0 => 0.0,
            seconds => self.bytes_done as f64 / seconds,
        }
    }

    /// The time left for receiving, at that rate; `None` until it can be told.
    pub fn time_left(&self) -> Option<Duration> {
        let left = self.bytes_total.saturating_sub(self.bytes_done) as f64;
        Duration::try_from_secs_f64(left / self.rate_bytes_per_second()).ok()
    }
}

/// What the clone's threads count, and the progress is read from.
#[derive(Debug)]
pub(super) struct Counters {
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    phase: Mutex<(ClonePhase, Option<Instant>)>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Counters {
            bytes_done: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            phase: Mutex::new((ClonePhase::Preparing, None)),
        }
    }

    pub(super) fn enter(&self, phase: ClonePhase) {
        let mut current = self.phase.lock().expect("no holder panics");
        current.0 = phase;
        if phase == ClonePhase::Copying {
            current.1 = Some(Instant::now());
        }
    }

    pub(super) fn expect(&self, bytes_total: u64) {
        self.bytes_total.store(bytes_total, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> CloneProgress {
        let (phase, copying_since) = *self.phase.lock().expect("no holder panics");
        let bytes_done = self.bytes_done.load(Ordering::Relaxed);
        let bytes_total = match self.bytes_total.load(Ordering::Relaxed) {
            0 => 0,
            estimated => estimated.max(bytes_done),
        };
        CloneProgress {
            phase,
            bytes_done,
            bytes_total,
            copying_for: copying_since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_from_the_rate_and_is_not_told_before_there_is_one() {
        let progress = CloneProgress {
            phase: ClonePhase::Copying,
            bytes_done: 100,
            bytes_total: 400,
            copying_for: Duration::from_secs(2),
        };
        assert_eq!(progress.time_left(), Some(Duration::from_secs(6)));
        let begun = CloneProgress {
            bytes_done: 0,
            ..progress
        };
        assert_eq!(begun.time_left(), None);
    }

    #[test]
    fn an_estimate_that_was_too_low_grows_with_what_was_done() {
        let counters = Counters::new();
        assert_eq!(counters.snapshot().bytes_total, 0);
        counters.expect(10);
        counters.add(11);
        assert_eq!(counters.snapshot().bytes_total, 11);
    }
}
