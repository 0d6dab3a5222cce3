//! A leader whose policy names a standby that is of no use takes in another by itself.

mod herd;

use herd::{Herd, any, name};

#[test]
fn a_new_leader_does_not_wait_for_a_standby_that_streams_for_moments_only() {
    let mut herd = Herd::of_three();
    herd.host("b").flaps = true;
    herd.write("a");
    herd.run(100);
    herd.power_off("a");
    herd.run_until("c is to lead", |herd| *herd.policy() == any(1, &["b"]));
    herd.run(2_000);
    assert_eq!(herd.leader(), None);

    herd.power_on("a");
    let took = herd.run_until("c leads", |herd| herd.leader() == Some(name("c")));
    assert!(took < 10_000, "it took {took} ms");
    assert_eq!(*herd.policy(), any(1, &["a"]));
    herd.assert_nothing_lost();
}

#[test]
fn a_standby_that_streams_for_moments_is_taken_in_once_it_stays() {
    let mut herd = Herd::of_three();
    herd.host("b").flaps = true;
    herd.run_until("only c in the policy", |herd| {
        *herd.policy() == any(1, &["c"]) && herd.is_whole()
    });
    herd.run(10_000);
    assert_eq!(*herd.policy(), any(1, &["c"]));
    herd.host("b").flaps = false;
    herd.run_until("both in the policy", |herd| {
        *herd.policy() == any(1, &["b", "c"]) && herd.is_whole()
    });
}
