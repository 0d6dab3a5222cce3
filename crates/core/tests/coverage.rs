//! The inequality on which safety rests, over every small policy, and over random larger ones.

use std::collections::BTreeSet;

use manada_core::policy::{Policy, Published, mixture};
use manada_model::{NodeName, SyncMethod};
use proptest::prelude::*;

fn standby(number: usize) -> NodeName {
    format!("s{number}").parse().expect("a name")
}

fn leader() -> NodeName {
    "leader".parse().expect("a name")
}

fn published(standbys: usize, count: usize, method: SyncMethod) -> Published {
    Published {
        leader: leader(),
        policy: Policy {
            method,
            count: u32::try_from(count).expect("it is small"),
            standbys: (0..standbys).map(standby).collect(),
        },
    }
}

/// The standbys of which the bits are set.
fn chosen(standbys: usize, bits: u64) -> BTreeSet<NodeName> {
    (0..standbys)
        .filter(|number| bits >> number & 1 == 1)
        .map(standby)
        .collect()
}

/// Recruits that do not have the leader are enough exactly if they meet every set that can have
/// acknowledged a commit, and that is exactly if too few are left to acknowledge another.
#[test]
fn recruits_that_cover_a_policy_meet_every_acknowledging_set_and_leave_too_few_for_another() {
    for standbys in 1..=6 {
        for count in 1..=standbys {
            for method in [SyncMethod::Any, SyncMethod::First] {
                let published = published(standbys, count, method);
                for recruited in 0..1 << standbys {
                    let recruits = chosen(standbys, recruited);
                    let meets_all = (0..1_u64 << standbys)
                        .filter(|bits| bits.count_ones() as usize == count)
                        .all(|bits| bits & recruited != 0);
                    let left = standbys - recruits.len();
                    assert_eq!(published.is_covered_by(&recruits), meets_all);
                    assert_eq!(meets_all, left < count);
                }
            }
        }
    }
}

#[test]
fn a_policy_is_covered_by_its_leader_alone() {
    let alone = BTreeSet::from([leader()]);
    assert!(published(3, 2, SyncMethod::Any).is_covered_by(&alone));
    assert!(published(0, 0, SyncMethod::Any).is_covered_by(&alone));
}

#[test]
fn an_asynchronous_policy_is_covered_by_nobody_else() {
    let published = published(0, 0, SyncMethod::Any);
    assert!(!published.is_covered_by(&chosen(5, 0b11111)));
    assert_eq!(published.policy.recruits_needed(), None);
}

proptest! {
    #[test]
    fn covering_recruits_meet_a_random_acknowledging_set(
        standbys in 1_usize..40,
        count in 1_usize..40,
        recruited in any::<u64>(),
        acknowledging in any::<u64>(),
    ) {
        prop_assume!(count <= standbys);
        let published = published(standbys, count, SyncMethod::Any);
        let recruits = chosen(standbys, recruited);
        let acknowledging = chosen(standbys, acknowledging);
        prop_assume!(acknowledging.len() >= count);
        if published.is_covered_by(&recruits) {
            prop_assert!(!recruits.is_disjoint(&acknowledging));
            prop_assert!(standbys - recruits.len() < count);
        }
    }

    #[test]
    fn strangers_cover_nothing(standbys in 1_usize..20, count in 1_usize..20) {
        prop_assume!(count <= standbys);
        let strangers: BTreeSet<NodeName> = (100..200).map(standby).collect();
        prop_assert!(!published(standbys, count, SyncMethod::Any).is_covered_by(&strangers));
    }
}

/// All policies over some of four standbys, by the bits of their names.
fn policies_over(names: u64) -> impl Iterator<Item = Published> {
    let standbys = chosen(4, names);
    (1..=standbys.len()).map(move |count| Published {
        leader: leader(),
        policy: Policy {
            method: SyncMethod::Any,
            count: u32::try_from(count).expect("it is small"),
            standbys: standbys.iter().cloned().collect(),
        },
    })
}

/// Walsenders go over one by one: meanwhile as few as the smaller number of either policy's names
/// may release a commit.
#[test]
fn recruits_that_cover_a_change_meet_whoever_acknowledged_between_the_policies() {
    let mut missed_without = 0;
    for (before, after) in (1..16_u64).flat_map(|one| (1..16).map(move |other| (one, other))) {
        for old in policies_over(before) {
            for new in policies_over(after) {
                let between = mixture([&old.policy, &new.policy].into_iter());
                let between = Published {
                    leader: leader(),
                    policy: between.expect("both are synchronous"),
                };
                let least = old.policy.count.min(new.policy.count);
                for recruited in 0..16 {
                    let recruits = chosen(4, recruited);
                    if !old.is_covered_by(&recruits) || !new.is_covered_by(&recruits) {
                        continue;
                    }
                    let meets_all = (1..16_u64)
                        .filter(|bits| bits & !(before | after) == 0)
                        .filter(|bits| bits.count_ones() >= least)
                        .all(|bits| bits & recruited != 0);
                    missed_without += u32::from(!meets_all);
                    assert!(meets_all || !between.is_covered_by(&recruits));
                }
            }
        }
    }
    assert!(missed_without > 0, "then nothing need be published between");
}
