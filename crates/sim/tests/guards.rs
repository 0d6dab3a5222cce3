//! Each condition on which safety rests is missed when it is left out, and only then.

use manada_core::guards::Guard;
use manada_sim::simulation::Trial;

/// How often each accident is lived through with all guards.
const TIMES: u64 = 10;

/// Those without which only a step is seen that should not have been: the harm that follows takes
/// further accidents at moments that these trials don't meet.
const STEPS_ONLY: [Guard; 4] = [
    Guard::PersistBeforePromoting,
    Guard::PlaceholderUntilRule,
    Guard::PublishBeforeEnforce,
    Guard::NeverLeads,
];

#[test]
fn every_guard_is_missed() {
    let unnoticed: Vec<_> = Guard::ALL
        .into_iter()
        .filter(|guard| Trial::of(*guard).noticed().is_none())
        .collect();
    assert!(unnoticed.is_empty(), "nothing notices {unnoticed:?}");
}

#[test]
fn without_most_guards_somebody_comes_to_harm() {
    let harmless: Vec<_> = Guard::ALL
        .into_iter()
        .filter(|guard| !STEPS_ONLY.contains(guard) && Trial::of(*guard).harms().is_none())
        .collect();
    assert!(harmless.is_empty(), "nobody misses {harmless:?}");
}

#[test]
fn with_all_guards_nothing_comes_of_it() {
    for guard in Guard::ALL {
        let trial = Trial::of(guard);
        for seed in 1..=TIMES {
            assert_eq!(trial.run(seed, true, false), None, "{guard:?}, seed {seed}");
        }
    }
}
