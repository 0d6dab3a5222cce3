//! What a herd does when its leader is lost.

mod herd;

use std::time::Duration;

use herd::{Entry, Herd, Runs, any, epoch, name, server};
use manada_core::action::{Order, Stop};
use manada_core::input::Command;
use manada_core::message::Message;
use manada_core::obstacle::{Obstacle, Unfit};
use manada_core::record::{Desired, MemberRole, WhenShort};
use manada_core::standing::Standing;
use manada_core::timer::Timer;
use manada_model::SyncMethod;

#[test]
fn a_killed_server_is_replaced_at_once_by_the_furthest_follower() {
    let mut herd = Herd::of_three();
    herd.write("a");
    herd.run(100);
    herd.kill_server("a");
    let took = herd.run_until("another leader", |herd| {
        herd.leader().is_some_and(|leader| leader != name("a"))
    });
    assert!(took < 600, "it took {took} ms");
    herd.settle();
    assert_eq!(herd.record.value.epoch, epoch(2));
    herd.assert_nothing_lost();
}

#[test]
fn a_killed_server_is_replaced_also_when_its_followers_connect_anew() {
    let mut herd = Herd::of_three();
    herd.write("a");
    herd.run(100);
    for standby in ["b", "c"] {
        herd.host(standby).server.follows = None;
    }
    // One look at a server of which nobody receives.
    herd.run(20);
    herd.kill_server("a");
    herd.run_until("another leader", |herd| {
        herd.leader().is_some_and(|leader| leader != name("a"))
    });
    herd.assert_nothing_lost();
}

#[test]
fn a_host_that_is_lost_is_replaced_after_its_lease() {
    let mut herd = Herd::of_three();
    herd.write("a");
    herd.run(100);
    herd.power_off("a");
    let took = herd.run_until("another leader", |herd| herd.leader().is_some());
    assert!((2_000..3_500).contains(&took), "it took {took} ms");
    assert_eq!(*herd.policy(), any(1, &["c"]));
    herd.assert_nothing_lost();
}

#[test]
fn a_former_leader_comes_back_as_a_standby_and_is_taken_into_the_policy() {
    let mut herd = Herd::of_three();
    herd.power_off("a");
    herd.run_until("another leader", |herd| herd.leader().is_some());
    herd.power_on("a");
    herd.settle();
    herd.run_until("both in the policy", |herd| {
        herd.policy().standbys.len() == 2 && herd.is_whole()
    });
    herd.assert_nothing_lost();
}

#[test]
fn a_diverged_leader_is_brought_back_before_it_follows() {
    let mut herd = Herd::of_three();
    herd.write("a");
    herd.run(50);
    herd.host("b").server.follows = None;
    herd.host("c").server.follows = None;
    assert!(
        herd.write("a").is_some(),
        "it hangs, and is in the WAL of a"
    );
    herd.power_off("a");
    herd.run_until("another leader", |herd| herd.leader().is_some());
    herd.write("b");
    let before = herd.now;
    herd.power_on("a");
    herd.settle();
    let rejoined = herd
        .orders_since(before)
        .iter()
        .any(|(who, order)| *who == name("a") && matches!(order, Order::Rejoin { .. }));
    assert!(rejoined);
    herd.assert_nothing_lost();
}

#[test]
fn a_node_that_could_not_be_brought_back_is_tried_again_ever_more_seldom() {
    let mut herd = Herd::of_three();
    herd.host("b").server.follows = None;
    herd.host("c").server.follows = None;
    herd.write("a");
    herd.power_off("a");
    herd.run_until("another leader", |herd| herd.leader().is_some());
    // As on a full disk, which has room again in the end.
    herd.host("a").failing = Some(("Rejoin", 7));
    let before = herd.now;
    herd.power_on("a");
    herd.run_until("it is stuck", |herd| {
        matches!(
            herd.hosts[&name("a")].core.standing(),
            Standing::Stuck { tries: 5, .. }
        )
    });
    let obstacles = herd.host("a").core.obstacles();
    let told = |obstacle: &Obstacle| matches!(obstacle, Obstacle::RejoinBudgetSpent { .. });
    assert!(obstacles.iter().any(told), "{obstacles:?}");
    herd.settle();
    let tries: Vec<u64> = herd
        .journal
        .iter()
        .filter(|(when, _, action)| *when >= before && matches!(action.order, Order::Rejoin { .. }))
        .map(|(when, _, _)| *when)
        .collect();
    assert_eq!(tries.len(), 8);
    let pauses: Vec<u64> = tries.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.is_sorted() && pauses[0] >= 250, "{pauses:?}");
    assert!(pauses.iter().sum::<u64>() > 15_000, "{pauses:?}");
    herd.assert_nothing_lost();
}

#[test]
fn a_leader_whose_agent_is_gone_goes_on_leading() {
    let mut herd = Herd::of_three();
    herd.kill_agent("a");
    herd.run(10_000);
    assert_eq!(herd.record.value.epoch, epoch(1));
    let obstacles = herd.host("b").core.obstacles();
    assert!(obstacles.contains(&Obstacle::LeaderAnswers { leader: name("a") }));
    herd.power_on("a");
    herd.settle();
    assert_eq!(herd.record.value.epoch, epoch(1));
}

#[test]
fn a_lost_store_demotes_nobody() {
    let mut herd = Herd::of_three();
    herd.set_store(false);
    herd.run(20_000);
    assert!(herd.write("a").is_some());
    herd.run(100);
    assert_eq!(herd.acknowledged.len(), 1);
    herd.set_store(true);
    herd.run(5_000);
    assert_eq!(herd.record.value.epoch, epoch(1));
}

#[test]
fn a_store_that_was_lost_with_the_leader_costs_no_second_lease() {
    let mut herd = Herd::of_three();
    let before = herd.now;
    herd.power_off("a");
    herd.set_store(false);
    herd.run(1_500);
    herd.set_store(true);
    herd.run_until("another leader", |herd| herd.leader().is_some());
    let took = herd.now - before;
    assert!(took < 2_500, "{took} ms\n{}", herd.tail());
    herd.assert_nothing_lost();
}

#[test]
fn what_a_server_failed_to_answer_counts_no_more_when_the_store_is_back() {
    let mut herd = Herd::of_three();
    herd.set_store(false);
    herd.run(2_000);
    // It is busy for a while when it is asked, and takes no writes.
    herd.hang_server("a");
    herd.run(1_500);
    herd.wake_server("a");
    herd.run(1_000);
    herd.set_store(true);
    herd.run(10_000);
    assert_eq!(herd.record.value.epoch, epoch(1), "{}", herd.tail());
}

#[test]
fn nobody_leads_whose_recruits_do_not_cover_the_policy() {
    let members = [("a", server(1)), ("b", server(1)), ("c", server(1))];
    let mut herd = Herd::new(&members, 2, WhenShort::Block);
    herd.settle();
    herd.write("a");
    herd.run(100);
    assert_eq!(herd.acknowledged.len(), 1);
    // ANY 2 (b, c): one of them is enough.
    herd.power_off("a");
    herd.power_off("b");
    herd.run(30_000);
    assert_eq!(herd.record.value.leader, Some(name("c")));
    // It leads behind a closed gate: commits wait for two, and there are none.
    assert_eq!(herd.leader(), None);
    herd.power_on("b");
    herd.power_on("a");
    herd.settle();
    herd.assert_nothing_lost();
}

#[test]
fn with_any_1_of_two_a_lone_survivor_waits_for_the_other() {
    let mut herd = Herd::of_three();
    herd.write("a");
    herd.run(100);
    herd.power_off("a");
    herd.power_off("b");
    herd.run(30_000);
    assert_eq!(herd.record.value.leader, None);
    let obstacles = herd.host("c").core.obstacles();
    let blocked = obstacles.iter().any(|obstacle| {
        matches!(obstacle, Obstacle::NotCovered { missing, needed: Some(1), .. }
            if *missing == [name("b"), name("a")])
    });
    assert!(blocked, "{obstacles:?}");
    herd.power_on("b");
    herd.settle();
    herd.assert_nothing_lost();
}

#[test]
fn without_a_follower_the_leader_starts_in_place() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 1, WhenShort::Degrade);
    herd.settle();
    herd.power_off("b");
    herd.run_until("commits that wait for nobody", |herd| {
        !herd.policy().is_synchronous() && herd.is_whole()
    });
    herd.kill_server("a");
    herd.settle();
    assert_eq!(herd.record.value.epoch, epoch(1));
    assert_eq!(herd.host("a").server.runs, Runs::Primary);
}

#[test]
fn a_server_that_hangs_is_replaced() {
    let mut herd = Herd::of_three();
    herd.hang_server("a");
    let took = herd.run_until("another leader", |herd| {
        herd.leader().is_some_and(|leader| leader != name("a"))
    });
    assert!((5_000..6_000).contains(&took), "it took {took} ms");
    herd.settle();
    herd.assert_nothing_lost();
}

#[test]
fn a_standby_that_hangs_is_given_longer_than_a_leader() {
    let mut herd = Herd::of_three();
    let before = herd.now;
    herd.hang_server("c");
    herd.run(15_000);
    herd.wake_server("c");
    herd.settle();
    let stopped = herd
        .orders_since(before)
        .iter()
        .any(|(_, order)| matches!(order, Order::Stop(_)));
    assert!(!stopped, "{}", herd.tail());
}

#[test]
fn a_standby_that_hangs_is_given_no_longer_than_a_leader_once_it_is_recruited() {
    let mut herd = Herd::of_three();
    herd.hang_server("c");
    herd.run(2_000);
    herd.power_off("a");
    let lost = herd.now;
    herd.run_until("it is stopped", |herd| {
        let orders = herd.orders_since(lost);
        orders
            .iter()
            .any(|(who, order)| *who == name("c") && matches!(order, Order::Stop(_)))
    });
    assert!(herd.now - lost < 10_000, "{}", herd.tail());
}

#[test]
fn two_nodes_with_degrade_go_on_with_one_and_arm_again() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 1, WhenShort::Degrade);
    herd.settle();
    herd.write("a");
    herd.run(100);
    herd.power_off("a");
    herd.run_until("b leads alone", |herd| herd.leader() == Some(name("b")));
    assert!(!herd.policy().is_synchronous());
    herd.write("b");
    herd.run(100);
    herd.power_on("a");
    herd.run_until("a in the policy", |herd| {
        *herd.policy() == any(1, &["a"]) && herd.is_whole()
    });
    herd.assert_nothing_lost();
}

#[test]
fn a_dead_standby_is_left_out_of_the_policy_and_taken_in_again() {
    let mut herd = Herd::of_three();
    herd.power_off("c");
    herd.run_until("c is left out", |herd| {
        *herd.policy() == any(1, &["b"]) && herd.is_whole()
    });
    herd.power_on("c");
    herd.run_until("c is taken in", |herd| {
        *herd.policy() == any(1, &["b", "c"]) && herd.is_whole()
    });
    assert_eq!(herd.record.value.epoch, epoch(1));
}

#[test]
fn a_switchover_hands_over_without_a_rewind() {
    let mut herd = Herd::of_three();
    herd.write("a");
    herd.run(100);
    let before = herd.now;
    herd.command(
        "a",
        Command::Switchover {
            to: Some(name("c")),
        },
    );
    let took = herd.run_until("c leads", |herd| herd.leader() == Some(name("c")));
    assert!(took < 500, "it took {took} ms");
    herd.settle();
    let rejoined = herd
        .orders_since(before)
        .iter()
        .any(|(_, order)| matches!(order, Order::Rejoin { .. } | Order::Stop(Stop::Immediate)));
    assert!(!rejoined, "{}", herd.tail());
    herd.assert_nothing_lost();
}

#[test]
fn while_no_recruit_has_answered_that_is_what_is_said() {
    let mut herd = Herd::of_three();
    for standby in ["b", "c"] {
        herd.host(standby).failing = Some(("StopReceiving", 3));
    }
    herd.power_off("a");
    let obstacles = |herd: &Herd| {
        let cores = ["b", "c"].map(|host| herd.hosts[&name(host)].core.obstacles());
        cores.concat()
    };
    let all = || ["a", "b", "c"].map(name).to_vec();
    herd.run_until("they are waited for", |herd| {
        obstacles(herd).contains(&Obstacle::AwaitingRecruits { of: all() })
    });
    herd.run_until("another leader", |herd| {
        assert!(!obstacles(herd).contains(&Obstacle::NobodyMayLead));
        herd.leader().is_some()
    });
}

#[test]
fn an_agent_that_restarts_keeps_its_reign_for_longer_than_a_lease() {
    let mut herd = Herd::new(&[("a", server(1)), ("b", server(1))], 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    herd.command("a", Command::AgentRestarts);
    herd.run(100);
    herd.kill_agent("a");
    // Its server does not answer either, so that only the lease speaks for it.
    herd.host("a").isolated = true;
    herd.run(20_000);
    assert_eq!(herd.record.value.epoch, epoch(1));
}

#[test]
fn an_announced_restart_is_not_cut_short_by_the_next_beat() {
    let mut herd = Herd::of_three();
    herd.command("a", Command::AgentRestarts);
    herd.run(1_000);
    let ends = herd.host("a").core.timers()[&Timer::LeaseEnds];
    assert!(ends.0 > Duration::from_secs(25), "it ends at {ends:?}");
}

#[test]
fn a_witness_gives_what_only_it_has_to_the_one_who_may_lead() {
    let members = [
        ("a", server(1)),
        ("b", server(1)),
        ("w", MemberRole::Witness),
    ];
    let mut herd = Herd::new(&members, 1, WhenShort::Block);
    herd.settle();
    herd.run(100);
    herd.isolate("b", true);
    herd.write("a");
    herd.run(100);
    assert_eq!(herd.acknowledged.len(), 1, "the witness has it");
    herd.power_off("a");
    herd.isolate("b", false);
    herd.run_until("b leads", |herd| herd.leader() == Some(name("b")));
    herd.assert_nothing_lost();
    assert!(
        herd.orders_since(0)
            .iter()
            .any(|(_, order)| matches!(order, Order::FetchWal { .. }))
    );
}

#[test]
fn a_server_of_priority_0_never_leads() {
    let members = [("a", server(1)), ("b", server(0))];
    let mut herd = Herd::new(&members, 1, WhenShort::Block);
    herd.settle();
    herd.run(100);
    herd.power_off("a");
    herd.run(20_000);
    assert_eq!(herd.record.value.leader, None);
    herd.power_on("a");
    herd.run_until("a leads again", |herd| herd.leader() == Some(name("a")));
}

#[test]
fn a_coordinator_that_is_lost_is_replaced() {
    let mut herd = Herd::of_three();
    herd.host("c").failing = Some(("Promise", 1_000));
    herd.power_off("a");
    herd.run_until("b recruits", |herd| herd.record.value.epoch == epoch(2));
    herd.power_off("b");
    herd.host("c").failing = None;
    herd.power_on("a");
    herd.settle();
    assert!(herd.record.value.epoch > epoch(2));
    herd.assert_nothing_lost();
}

#[test]
fn a_promise_that_is_not_durable_is_not_said() {
    let mut herd = Herd::of_three();
    herd.host("c").failing = Some(("Promise", 1_000));
    herd.run(10);
    let before = herd.now;
    herd.power_off("a");
    herd.run(10_000);
    let said = herd.orders_since(before).into_iter().any(|(who, order)| {
        who == name("c")
            && matches!(
                order,
                Order::Send {
                    message: Message::Recruited { .. },
                    ..
                }
            )
    });
    assert!(!said);
}

#[test]
fn a_switchover_that_can_not_begin_is_dropped_and_says_why() {
    let mut herd = Herd::of_three();
    herd.power_off("c");
    herd.command(
        "a",
        Command::Switchover {
            to: Some(name("c")),
        },
    );
    herd.run(10_000);
    herd.power_on("c");
    herd.run(10_000);
    assert_eq!(herd.leader(), Some(name("a")));
    let obstacles = herd.host("a").core.obstacles();
    assert!(
        obstacles.contains(&Obstacle::SuccessorUnfit {
            successor: Some(name("c")),
            unfit: Unfit::NotStreaming
        }),
        "{obstacles:?}"
    );
}

#[test]
fn a_switchover_is_refused_while_the_store_takes_no_writes() {
    let mut herd = Herd::of_three();
    let switchover = Command::Switchover { to: None };
    assert_eq!(herd.host("a").core.objection(&switchover), None);
    herd.host("a").failing = Some(("RenewLease", 1_000));
    herd.run(5_000);
    let refuses = Obstacle::StoreRefuses { said: None };
    let core = &herd.host("a").core;
    assert_eq!(core.objection(&switchover), Some(refuses.clone()));
    assert!(core.obstacles().contains(&refuses));
    assert_eq!(herd.leader(), Some(name("a")));

    herd.host("a").failing = None;
    herd.run(5_000);
    assert_eq!(herd.host("a").core.objection(&switchover), None);
}

#[test]
fn a_member_that_is_forgotten_is_no_longer_waited_for() {
    let mut herd = Herd::of_three();
    herd.command("b", Command::Forget { name: name("c") });
    herd.run_until("only b in the policy", |herd| {
        *herd.policy() == any(1, &["b"]) && herd.record.value.policies.len() == 1
    });
    assert_eq!(herd.host("c").core.standing(), Standing::Outsider);
}

fn only(standby: &str) -> Command {
    Command::SetPolicy(Desired {
        method: SyncMethod::Any,
        count: 1,
        standbys: Some(vec![name(standby)]),
        when_short: WhenShort::Block,
    })
}

#[test]
fn a_policy_that_is_published_again_needs_another_rule() {
    let mut herd = Herd::of_three();
    herd.command("a", only("b"));
    herd.run_until("any 1 (b)", |herd| {
        *herd.policy() == any(1, &["b"]) && herd.is_whole()
    });
    // c comes into force, and acknowledges what b has not; its rule can't be written.
    herd.host("a").failing = Some(("WriteRule", 1_000));
    herd.command("a", only("c"));
    herd.run(500);
    herd.isolate("b", true);
    herd.write("a");
    herd.run(100);
    assert_eq!(herd.acknowledged.len(), 1);
    herd.isolate("c", true);
    herd.command("a", only("b"));
    herd.isolate("b", false);
    herd.run(10_000);
    assert_eq!(*herd.policy(), any(1, &["b"]));
    assert!(
        herd.record.value.policies.len() > 1,
        "the rule of b was written before c acknowledged anything"
    );
    herd.isolate("c", false);
    herd.host("a").failing = None;
    herd.settle();
    herd.assert_nothing_lost();
}

#[test]
fn a_leader_that_came_back_after_it_resigned_is_left_alone() {
    let mut herd = Herd::of_three();
    herd.set_store(false);
    herd.kill_server("a");
    herd.run_until("a starts in place", |herd| {
        herd.hosts[&name("a")].server.runs == Runs::Primary
    });
    herd.run(1_000);
    herd.set_store(true);
    herd.run(10_000);
    assert_eq!(herd.record.value.epoch, epoch(1));
    assert_eq!(herd.leader(), Some(name("a")));
}

#[test]
fn wal_of_a_reign_without_a_rule_is_not_taken_for_the_old_leaders() {
    let mut herd = Herd::of_three();
    // a is cut off, and writes what nobody else gets.
    herd.isolate("a", true);
    for _ in 0..5 {
        assert_ne!(herd.write("a"), None);
    }
    // b is promoted, c receives something of its WAL, and b is lost before its rule is written.
    herd.host("b").failing = Some(("WriteRule", 1_000));
    herd.run_until("b is promoted", |herd| {
        herd.hosts[&name("b")].server.runs == Runs::Primary
    });
    let promoted = Entry::Commit(u64::MAX);
    herd.host("b").server.wal.push(promoted);
    herd.run_until("c has some of its WAL", |herd| {
        herd.hosts[&name("c")].server.wal.contains(&promoted)
    });
    herd.power_off("b");
    herd.isolate("a", false);
    herd.settle();
    assert_eq!(herd.leader(), Some(name("a")), "its WAL goes further");
    let server = &herd.host("c").server;
    assert!(!server.wal.contains(&promoted), "{:?}", server.wal);
    herd.assert_nothing_lost();
}
