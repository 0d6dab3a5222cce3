//! Lives full of faults: none loses what was acknowledged, and each herd becomes whole again.

use std::time::Duration;

use manada_sim::simulation::{Life, live};

/// How many lives of an hour each.
const HOURS: u64 = 20;

/// The first life's seed.
const SEED: u64 = 1;

#[test]
fn herds_live_through_their_faults() {
    for seed in SEED..SEED + HOURS {
        let life = Life::usual(seed, Duration::from_secs(3600));
        if let Err(failure) = live(&life) {
            panic!("{failure}");
        }
    }
}
