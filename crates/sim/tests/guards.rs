//! Each condition on which safety rests is missed when it is left out, and only then.

use manada_core::guards::Guard;
use manada_sim::simulation::Trial;

/// How often each accident is lived through with all guards.
const TIMES: u64 = 10;

#[test]
fn every_guard_is_missed() {
    let unnoticed: Vec<_> = Guard::ALL
        .into_iter()
        .filter(|guard| Trial::of(*guard).noticed().is_none())
        .collect();
    assert!(unnoticed.is_empty(), "nothing notices {unnoticed:?}");
}

#[test]
fn with_all_guards_nothing_comes_of_it() {
    for guard in Guard::ALL {
        let trial = Trial::of(guard);
        for seed in 1..=TIMES {
            assert_eq!(trial.run(seed, true), None, "{guard:?}, seed {seed}");
        }
    }
}
