//! What a herd does when somebody else sets what its commits wait for.

mod herd;

use herd::{Herd, Runs, any, name, server};
use manada_core::action::Order;
use manada_core::input::Command;
use manada_core::policy::Policy;
use manada_core::reason::Reason;
use manada_core::record::{Desired, WhenShort};
use manada_core::server::Enforced;
use manada_model::SyncMethod;

fn publishes(herd: &Herd, policy: &Policy) -> bool {
    let mut policies = herd.record.value.policies.iter();
    policies.any(|published| published.policy == *policy)
}

/// A herd whose leader's commits wait for nobody, against its orders.
fn overridden() -> Herd {
    let mut herd = Herd::of_three();
    let nobody = Enforced::Policy(Policy::asynchronous());
    herd.host("a").server.overridden = Some(nobody);
    herd.run_until("that is published", |herd| {
        publishes(herd, &Policy::asynchronous())
    });
    herd.run_until("time ends this reign", |herd| {
        herd.hosts[&name("a")].deadman.is_some()
    });
    herd
}

#[test]
fn who_takes_over_does_not_believe_to_have_what_a_foreign_setting_acknowledged() {
    let mut herd = overridden();
    herd.run(3_000);
    assert_eq!(herd.leader(), Some(name("a")), "a healthy primary is left");
    let lost = herd.write("a").expect("a takes writes");
    herd.isolate("a", true);
    let at = herd.now;
    herd.run(20);
    assert!(herd.acknowledged.contains(&lost), "{}", herd.state());
    herd.run_until("another leads", |herd| {
        herd.leader() != Some(name("a")) && herd.leader().is_some()
    });
    let former = herd.host("a").server.runs;
    assert_ne!(former, Runs::Primary, "{}", herd.state());
    let reasons = herd.journal.iter().filter(|(when, _, _)| *when >= at);
    let mut reasons = reasons.map(|(_, _, action)| &action.reason);
    assert!(
        reasons.any(|reason| matches!(reason, Reason::LossAccepted { .. })),
        "it was believed that nothing can be lost: {}",
        herd.tail()
    );
}

#[test]
fn a_policy_counts_again_once_the_foreign_setting_is_gone_and_its_quorum_has_a_new_rule() {
    let mut herd = overridden();
    let rules = |herd: &Herd| {
        let orders = herd.orders_since(0);
        orders
            .iter()
            .filter(|(_, order)| matches!(order, Order::WriteRule(_)))
            .count()
    };
    let before = rules(&herd);
    herd.host("a").server.overridden = None;
    herd.settle();
    assert_eq!(*herd.policy(), any(1, &["b", "c"]));
    assert_eq!(rules(&herd), before + 1, "{}", herd.tail());
    herd.run_until("quorums end this reign", |herd| {
        herd.hosts[&name("a")].deadman.is_none()
    });
}

#[test]
fn a_policy_that_can_not_be_put_in_force_costs_no_reign() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(2_000);
    let nobody = Enforced::Policy(Policy::asynchronous());
    herd.host("a").server.overridden = Some(nobody);
    let wanted = Desired {
        method: SyncMethod::Any,
        count: 1,
        standbys: None,
        when_short: WhenShort::Block,
    };
    herd.command("a", Command::SetPolicy(wanted));
    herd.run_until("it is published", |herd| publishes(herd, &any(1, &["b"])));
    herd.run(20_000);
    let orders = herd.orders_since(0);
    let mut orders = orders.iter().map(|(_, order)| order);
    assert!(
        !orders.any(|order| matches!(order, Order::StartPrimary)),
        "its deadman has killed it: {}",
        herd.tail()
    );
    assert_eq!(herd.leader(), Some(name("a")));
    assert!(publishes(&herd, &Policy::asynchronous()));
}

#[test]
fn nobody_is_promoted_under_a_foreign_setting_and_another_takes_over() {
    let mut herd = Herd::of_three();
    let foreign = Enforced::Policy(any(1, &["a"]));
    herd.host("b").server.overridden = Some(foreign);
    herd.power_off("a");
    herd.run_until("c leads", |herd| herd.leader() == Some(name("c")));
    herd.assert_nothing_lost();
}
