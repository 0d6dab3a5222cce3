//! What a herd does when its commits wait for nobody, or may be lost.

mod herd;

use std::time::Duration;

use herd::{Herd, Runs, epoch, name, server};
use manada_core::action::{ActionId, Order, Stop};
use manada_core::input::{Command, Input, Outcome};
use manada_core::loss::LossBound;
use manada_core::message::Message;
use manada_core::obstacle::Obstacle;
use manada_core::record::WhenShort;
use manada_core::server::{Enforced, Gate};
use manada_core::timer::Timer;

#[test]
fn an_asynchronous_leader_arms_the_deadman_before_commits_wait_for_nobody() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 1, WhenShort::Degrade);
    herd.settle();
    herd.power_off("b");
    herd.run_until("commits that wait for nobody", |herd| {
        !herd.policy().is_synchronous() && herd.is_whole()
    });
    herd.run(1_000);
    let orders = herd.orders_since(0);
    let armed = orders
        .iter()
        .position(|(_, order)| matches!(order, Order::Deadman { deadline: Some(_) }));
    let relaxed = orders.iter().position(|(_, order)| {
        matches!(order, Order::Enforce(Enforced::Policy(policy)) if !policy.is_synchronous())
    });
    assert!(armed.is_some() && armed < relaxed, "{orders:?}");
}

#[test]
fn a_sign_of_life_that_is_confirmed_after_its_end_lets_nothing_be_acknowledged() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    let mut core = herd.host("a").core.clone();
    let beats = core.timers()[&Timer::Beat];
    let mut orders = |input, now| {
        core.handle(input, now);
        std::iter::from_fn(|| core.poll_action().map(|action| action.order)).collect::<Vec<_>>()
    };
    let given = orders(Input::Timer(Timer::Beat), beats);
    assert!(matches!(given.as_slice(), [Order::RenewLease { .. }]));
    let confirmed = Input::Done {
        action: ActionId(4),
        outcome: Outcome::Done,
    };
    let late = beats + Duration::from_secs(60);
    let given = orders(confirmed, late);
    assert!(given.contains(&Order::Stop(Stop::Immediate)), "{given:?}");
    let arms = |order: &Order| matches!(order, Order::Deadman { deadline: Some(_) });
    assert!(!given.iter().any(arms), "{given:?}");
}

#[test]
fn an_asynchronous_leader_that_can_not_renew_its_lease_stops() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    herd.isolate("a", true);
    herd.run(2_500);
    let gate = herd.host("a").server.gate;
    let runs = herd.host("a").server.runs;
    assert!(
        runs != Runs::Primary || gate == Gate::Closed,
        "{}",
        herd.state()
    );
    herd.run_until("b leads", |herd| herd.leader() == Some(name("b")));
}

#[test]
fn a_sign_of_life_that_a_coordinator_has_not_seen_is_waited_for() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    herd.host("b").misses_beats = true;
    // For b the lease has lapsed, while a renews it.
    herd.run(4_000);
    assert_eq!(herd.leader(), Some(name("a")));
    herd.isolate("a", true);
    let failover = Command::Failover {
        to: None,
        allow_loss: None,
    };
    herd.command("b", failover);
    for _ in 0..1_000 {
        herd.run(10);
        let replaced = herd.record.value.leader == Some(name("b"));
        let server = &herd.host("a").server;
        let acknowledges = server.runs == Runs::Primary && server.enforced != Enforced::Nobody;
        assert!(!replaced || !acknowledges, "{}", herd.state());
        if herd.leader() == Some(name("b")) {
            return;
        }
    }
    panic!("b does not take over: {}", herd.state());
}

#[test]
fn an_asynchronous_failover_gives_up_no_more_than_it_may() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    // b falls behind by more than ten; then a is lost.
    herd.isolate("b", true);
    for _ in 0..20 {
        herd.write("a");
    }
    herd.run(1_000);
    herd.power_off("a");
    herd.isolate("b", false);
    herd.run(30_000);
    assert_eq!(herd.record.value.leader, None);
    let obstacles = herd.host("b").core.obstacles();
    assert!(
        obstacles.contains(&Obstacle::LossTooLarge {
            bytes: Some(20),
            bound: 10
        }),
        "{obstacles:?}"
    );
    herd.command(
        "b",
        Command::Failover {
            to: None,
            allow_loss: Some(LossBound::Bytes(100)),
        },
    );
    herd.run_until("b leads", |herd| herd.leader() == Some(name("b")));
}

#[test]
fn nobody_takes_over_by_itself_from_a_leader_whose_deadman_was_never_armed() {
    let members = [("a", server(1)), ("b", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.host("a").failing = Some(("Deadman", 100_000));
    herd.run(2_000);
    // Its server goes on without an agent, where b can't ask it.
    herd.kill_agent("a");
    herd.host("a").isolated = true;
    herd.run(20_000);
    assert_eq!(herd.record.value.leader, None);
    let obstacles = herd.host("b").core.obstacles();
    let unknown =
        |obstacle: &Obstacle| matches!(obstacle, Obstacle::LossTooLarge { bytes: None, .. });
    assert!(obstacles.iter().any(unknown), "{obstacles:?}");
}

#[test]
fn a_loss_that_nobody_knows_is_accepted_by_name_alone() {
    let members = [("a", server(1)), ("b", server(1)), ("c", server(1))];
    let mut herd = Herd::new(&members, 1, WhenShort::Block);
    herd.settle();
    herd.run(500);
    // One of three is left, and the store has lost the lease.
    herd.power_off("a");
    herd.power_off("b");
    herd.power_off("c");
    herd.lease = None;
    herd.power_on("c");
    let elect = |allow_loss| Command::Failover {
        to: None,
        allow_loss: Some(allow_loss),
    };
    herd.command("c", elect(LossBound::Bytes(u64::MAX)));
    herd.run(20_000);
    assert_eq!(herd.record.value.leader, None);
    let obstacles = herd.host("c").core.obstacles();
    let unknown = Obstacle::LossTooLarge {
        bytes: None,
        bound: u64::MAX,
    };
    assert!(obstacles.contains(&unknown), "{obstacles:?}");
    herd.command("c", elect(LossBound::Any));
    herd.run_until("c is to lead", |herd| {
        herd.record.value.leader == Some(name("c"))
    });
}

#[test]
fn an_asynchronous_leader_without_its_agent_is_killed_and_replaced() {
    let members = [("a", server(1)), ("b", server(1)), ("c", server(1))];
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    herd.kill_agent("a");
    let took = herd.run_until("another leads", |herd| {
        herd.leader().is_some_and(|leader| leader != name("a"))
    });
    assert!(took < 5_000, "it took {took} ms");
    assert_ne!(herd.host("a").server.runs, Runs::Primary);
}

/// The words of resignation that were given since a moment, in their order.
fn resignations(herd: &Herd, since: u64) -> Vec<Message> {
    let orders = herd.orders_since(since).into_iter();
    let words = orders.filter_map(|(_, order)| match order {
        Order::Send { message, .. } if matches!(message, Message::Resigned { .. }) => Some(message),
        _ => None,
    });
    words.cloned().collect()
}

/// A leader that hands over to `b`, which is gone just then, has stopped its server.
fn resigned_in_favour_of_nobody(members: &[&str]) -> (Herd, u64) {
    let members: Vec<_> = members.iter().map(|name| (*name, server(1))).collect();
    let mut herd = Herd::new(&members, 0, WhenShort::Block);
    herd.settle();
    herd.run(500);
    let began = herd.now;
    herd.command(
        "a",
        Command::Switchover {
            to: Some(name("b")),
        },
    );
    herd.run_until("a closed gate", |herd| {
        herd.hosts[&name("a")].server.gate == Gate::Closed
    });
    herd.isolate("b", true);
    herd.run_until("a resignation", |herd| {
        !resignations(herd, began).is_empty()
    });
    (herd, began)
}

#[test]
fn nobody_takes_over_at_an_old_word_of_an_asynchronous_leader_that_went_on() {
    let (mut herd, began) = resigned_in_favour_of_nobody(&["a", "b"]);
    herd.run_until("a goes on", |herd| herd.leader() == Some(name("a")));
    herd.isolate("b", false);
    herd.run(2_000);
    let [word] = resignations(&herd, began)
        .try_into()
        .expect("it was given once");
    let heard = Input::Message {
        from: name("a"),
        message: word,
    };
    herd.handle(&name("b"), heard);
    herd.run(10_000);
    assert_eq!(herd.record.value.epoch, epoch(1), "{}", herd.state());
    assert_eq!(herd.leader(), Some(name("a")));
}

#[test]
fn an_asynchronous_leader_gives_no_sign_of_life_before_its_word_is_void() {
    let (mut herd, began) = resigned_in_favour_of_nobody(&["a", "b"]);
    herd.host("a").failing = Some(("Swap", 1_000));
    let seen = herd.now + 1;
    herd.run(10_000);
    let given = herd.orders_since(seen);
    let goes_on = given.iter().any(|(_, order)| match order {
        Order::RenewLease { .. } => true,
        Order::Enforce(Enforced::Policy(policy)) => !policy.is_synchronous(),
        _ => false,
    });
    assert!(!goes_on, "{given:?}");
    herd.host("a").failing = None;
    herd.run_until("a goes on", |herd| herd.leader() == Some(name("a")));
    assert_eq!(resignations(&herd, began).len(), 1);
}

#[test]
fn an_asynchronous_leader_resigns_again_when_the_record_has_changed() {
    let (mut herd, began) = resigned_in_favour_of_nobody(&["a", "b", "c"]);
    let resigned = herd.now;
    let preferred = Command::Admit {
        name: name("c"),
        role: server(2),
    };
    herd.command("c", preferred);
    herd.run_until("c leads", |herd| herd.leader() == Some(name("c")));
    let words = resignations(&herd, began);
    assert_ne!(words.first(), words.last());
    assert!(herd.now - resigned < 1_500, "nobody waited for the lease");
}
