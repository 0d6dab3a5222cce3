//! The course of several clones at once: one bar, and when the last of them was done.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;
use manada_herd::JoinStep;

/// How far each standby is.
pub(crate) struct Course {
    bar: ProgressBar,
    standbys: Mutex<Vec<Standby>>,
}

#[derive(Clone, Default)]
struct Standby {
    bytes_done: u64,
    bytes_total: u64,
    cloned_at: Option<Instant>,
}

impl Course {
    pub(crate) fn new(count: usize, bar: ProgressBar) -> Course {
        Course {
            bar,
            standbys: Mutex::new(vec![Standby::default(); count]),
        }
    }

    /// Takes in what one standby is doing.
    pub(crate) fn follow(&self, index: usize, step: JoinStep) {
        let mut standbys = self.standbys.lock().unwrap_or_else(PoisonError::into_inner);
        let standby = &mut standbys[index];
        match step {
            JoinStep::AskingForAdmission | JoinStep::WaitingForStream => {}
            JoinStep::Cloning(clone) => {
                standby.bytes_done = clone.bytes_done;
                standby.bytes_total = clone.bytes_total;
                let (done, total) = standbys.iter().fold((0, 0), |(done, total), standby| {
                    (done + standby.bytes_done, total + standby.bytes_total)
                });
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            JoinStep::Starting => standby.cloned_at = Some(Instant::now()),
        }
    }

    /// When the last clone was done; now, where one is not.
    pub(crate) fn cloned_at(&self) -> Instant {
        let standbys = self.standbys.lock().unwrap_or_else(PoisonError::into_inner);
        standbys
            .iter()
            .map(|standby| standby.cloned_at.unwrap_or_else(Instant::now))
            .max()
            .unwrap_or_else(Instant::now)
    }
}
