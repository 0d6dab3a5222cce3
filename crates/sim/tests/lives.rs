//! Lives full of faults: none loses what was acknowledged, and each herd becomes whole again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use manada_sim::simulation::{Happening, Life, Outcome, live};

/// How many lives of an hour each.
const HOURS: u32 = 1000;

/// The first life's seed. `cargo xtask sim --seed N --hours 1` lives one of them again.
const SEED: u64 = 1;

/// What happens less often in all of them counts as not having been tried.
const SELDOM: u64 = 20;

const HOUR: Duration = Duration::from_secs(3600);

/// Lives so many hours by the seeds from there on, on all cores.
fn lives(first: u64, hours: u32) -> Outcome {
    let next = AtomicU64::new(first);
    let some = || {
        let mut sum = Outcome::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + u64::from(hours) {
                return sum;
            }
            match live(&Life::usual(seed, HOUR)) {
                Ok(outcome) => sum.merge(&outcome),
                Err(failure) => panic!("{failure}"),
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(some)).collect();
        let mut sum = Outcome::default();
        for thread in threads {
            sum.merge(&thread.join().expect("a life went wrong, see above"));
        }
        sum
    })
}

#[test]
fn herds_live_through_their_faults_for_a_thousand_hours() {
    let sum = lives(SEED, HOURS);
    assert!(sum.lived >= HOUR * HOURS);
    assert!(sum.faults >= 30 * u64::from(HOURS), "{} faults", sum.faults);
    let missing: Vec<_> = Happening::ALL
        .into_iter()
        .filter(|happening| sum.counts.of(*happening) < SELDOM)
        .collect();
    assert!(missing.is_empty(), "hardly ever: {missing:?}");
}

#[test]
fn time_that_is_passed_over_changes_nothing() {
    for seed in 1..=20 {
        let passing = Life::usual(seed, HOUR / 4);
        let living = Life {
            skips: false,
            ..passing.clone()
        };
        let mut passed = live(&passing).expect("nothing goes wrong");
        let lived = live(&living).expect("nothing goes wrong");
        assert!(passed.skipped > HOUR / 20, "seed {seed}");
        assert_eq!(lived.skipped, Duration::ZERO);
        passed.skipped = Duration::ZERO;
        // Only the work was less.
        assert!(passed.events < lived.events, "seed {seed}");
        passed.events = lived.events;
        assert_eq!(passed, lived, "seed {seed}");
    }
}
