//! What operators want of a herd.

mod herd;

use herd::{Herd, epoch, name};
use manada_core::input::Command;
use manada_core::obstacle::Obstacle;
use manada_core::record::{Desired, Mode, WhenShort};
use manada_core::standing::Standing;
use manada_model::SyncMethod;

#[test]
fn a_paused_herd_does_nothing_by_itself() {
    let mut herd = Herd::of_three();
    herd.command("b", Command::Pause);
    herd.run(500);
    herd.power_off("a");
    herd.run(20_000);
    assert_eq!(herd.record.value.epoch, epoch(1));
    assert!(herd.host("b").core.obstacles().contains(&Obstacle::Paused));
    herd.command("b", Command::Resume);
    herd.run_until("another leader", |herd| herd.leader().is_some());
}

#[test]
fn what_the_store_does_not_take_at_once_does_not_come_true_later() {
    let mut herd = Herd::of_three();
    herd.host("b").failing = Some(("Swap", 1));
    herd.command("b", Command::Pause);
    herd.run(500);
    assert_eq!(herd.host("b").failing, Some(("Swap", 0)), "it was tried");
    herd.run(60_000);
    assert_eq!(herd.record.value.mode, Mode::Automatic);
    // Whoever says it again is not made to wait for the pause after that failure.
    herd.command("b", Command::Pause);
    herd.run(500);
    assert_eq!(herd.record.value.mode, Mode::Paused);
    herd.command("b", Command::Resume);
    herd.run(500);
    // It was taken when the store was there, and the store is gone before it is written.
    herd.host("b").failing = Some(("Swap", 1));
    herd.command("b", Command::Pause);
    herd.set_store(false);
    herd.run(60_000);
    herd.set_store(true);
    herd.run(60_000);
    assert_eq!(herd.record.value.mode, Mode::Automatic);
}

#[test]
fn an_operator_can_move_a_healthy_leader() {
    let mut herd = Herd::of_three();
    herd.command(
        "b",
        Command::Failover {
            to: Some(name("c")),
            allow_loss: None,
        },
    );
    herd.run_until("c leads", |herd| herd.leader() == Some(name("c")));
    herd.settle();
    assert!(matches!(
        herd.host("a").core.standing(),
        Standing::Following { .. }
    ));
}

#[test]
fn nobody_hands_over_while_too_few_standbys_stream() {
    let mut herd = Herd::of_three();
    let switchover = Command::Switchover {
        to: Some(name("b")),
    };
    let both = Command::SetPolicy(Desired {
        method: SyncMethod::Any,
        count: 2,
        standbys: None,
        when_short: WhenShort::Block,
    });
    herd.command("a", both);
    herd.run_until("any 2", |herd| herd.policy().count == 2 && herd.is_whole());
    assert_eq!(herd.host("a").core.objection(&switchover), None);
    herd.power_off("c");
    herd.run(1_000);
    let objection = herd.host("a").core.objection(&switchover);
    let too_few = Obstacle::TooFewStandbys {
        streaming: 1,
        needed: 2,
        away: vec![name("c")],
    };
    assert_eq!(objection, Some(too_few));
    herd.command("a", switchover);
    herd.run(10_000);
    assert_eq!(herd.record.value.leader, Some(name("a")));
}
