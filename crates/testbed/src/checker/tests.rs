//! Histories that break one promise each: the checker must notice.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{End, History, Read, Reign, Violation, Write, WriteOutcome};

const ACKNOWLEDGED: WriteOutcome = WriteOutcome::Acknowledged { before: None };

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A write of a session of its own, that took 10 ms.
fn write(number: u64, node: &str, invoked: u64, outcome: WriteOutcome) -> Write {
    Write {
        number,
        session: u32::try_from(number).expect("a small number"),
        sequence: 1,
        node: node.to_owned(),
        opened: Duration::ZERO,
        invoked: at(invoked),
        ended: at(invoked + 10),
        outcome,
    }
}

/// A confirmed read of all numbers, that took 10 ms.
fn read(node: &str, invoked: u64, seen: &[u64]) -> Read {
    Read {
        node: node.to_owned(),
        invoked: at(invoked),
        ended: at(invoked + 10),
        confirmed: true,
        from: 0,
        seen: seen.iter().copied().collect(),
    }
}

fn end(state: &[u64]) -> End {
    End {
        state: BTreeSet::from_iter(state.iter().copied()),
        reigns: vec![reign(1, "a"), reign(2, "b")],
        ..End::default()
    }
}

fn reign(epoch: u64, leader: &str) -> Reign {
    Reign {
        epoch,
        leader: leader.to_owned(),
    }
}

fn history(writes: Vec<Write>, reads: Vec<Read>) -> History {
    History { writes, reads }
}

#[test]
fn a_failover_that_keeps_its_promises_is_accepted() {
    let writes = vec![
        write(1, "a", 0, ACKNOWLEDGED),
        write(2, "a", 20, WriteOutcome::Unknown),
        write(3, "a", 20, WriteOutcome::Unknown),
        write(4, "c", 30, WriteOutcome::Refused),
        write(5, "b", 40, ACKNOWLEDGED),
    ];
    let reads = vec![read("a", 12, &[1]), read("b", 60, &[1, 2, 5])];
    // Of two writes in doubt one was kept and one discarded.
    let found = history(writes, reads).violations(&end(&[1, 2, 5]));
    assert_eq!(found, []);
}

#[test]
fn an_acknowledged_write_that_is_not_there_in_the_end_is_found() {
    let found = history(vec![write(1, "a", 0, ACKNOWLEDGED)], vec![]).violations(&end(&[]));
    let [Violation::Lost { number: 1, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
}

#[test]
fn a_read_that_lacks_what_was_acknowledged_before_is_found() {
    let writes = vec![write(1, "a", 0, ACKNOWLEDGED)];
    let found = history(writes.clone(), vec![read("b", 20, &[])]).violations(&end(&[1]));
    let [Violation::Missed { number: 1, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
    // While it was being acknowledged, and outside of what was asked for, it may be missing.
    let early = read("a", 5, &[]);
    let later_ones = Read {
        from: 2,
        ..read("a", 20, &[])
    };
    // One that nothing confirmed may be stale.
    let stale = Read {
        confirmed: false,
        ..read("a", 20, &[])
    };
    let found = history(writes, vec![early, later_ones, stale]).violations(&end(&[1]));
    assert_eq!(found, []);
}

#[test]
fn what_was_refused_or_never_written_is_found_where_it_shows() {
    let writes = vec![write(1, "a", 0, WriteOutcome::Refused)];
    let found = history(writes, vec![]).violations(&end(&[1]));
    let [Violation::Phantom { number: 1, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
    let found = history(vec![], vec![read("a", 0, &[9])]).violations(&end(&[9]));
    assert!(found.contains(&Violation::Phantom {
        number: 9,
        node: "a".to_owned()
    }));
}

#[test]
fn what_was_seen_and_is_gone_is_found() {
    let writes = vec![write(1, "a", 0, WriteOutcome::Unknown)];
    let found = history(writes.clone(), vec![read("a", 20, &[1])]).violations(&end(&[]));
    let [Violation::SeenThenLost { number: 1, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
    // Gone from a later read, though it came back.
    let reads = vec![read("a", 20, &[1]), read("b", 40, &[])];
    let found = history(writes.clone(), reads).violations(&end(&[1]));
    let [Violation::SeenThenLost { number: 1, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
    // A stale primary has shown it: it was seen all the same.
    let unconfirmed = Read {
        confirmed: false,
        ..read("a", 20, &[1])
    };
    let found = history(writes, vec![unconfirmed]).violations(&end(&[]));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_session_that_does_not_find_its_own_writes_is_found() {
    let of_session = |number, sequence, before| Write {
        session: 7,
        sequence,
        ..write(
            number,
            "a",
            number * 20,
            WriteOutcome::Acknowledged { before },
        )
    };
    let writes = vec![of_session(1, 1, None), of_session(2, 2, Some(1))];
    assert_eq!(
        history(writes, vec![]).violations(&end(&[1, 2])),
        [],
        "it found them"
    );
    let writes = vec![of_session(1, 1, None), of_session(2, 2, None)];
    let found = history(writes, vec![]).violations(&end(&[1, 2]));
    let [Violation::SessionWentBack { session: 7, .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
}

#[test]
fn an_old_primary_that_acknowledges_after_the_new_one_is_found() {
    let writes = vec![
        write(1, "a", 0, ACKNOWLEDGED),
        write(2, "b", 20, ACKNOWLEDGED),
        write(3, "a", 40, ACKNOWLEDGED),
    ];
    let found = history(writes.clone(), vec![]).violations(&end(&[1, 2, 3]));
    let [
        Violation::TwoPrimaries {
            number: 3,
            epoch: 2,
            ..
        },
    ] = found.as_slice()
    else {
        panic!("{found:?}");
    };
    // It may lead again, in a later reign.
    let mut end = end(&[1, 2, 3]);
    end.reigns.push(reign(3, "a"));
    assert_eq!(history(writes, vec![]).violations(&end), []);
}

#[test]
fn an_acknowledgement_that_arrives_late_is_no_second_primary() {
    let writes = vec![
        Write {
            ended: at(100),
            ..write(1, "a", 0, ACKNOWLEDGED)
        },
        write(2, "b", 20, ACKNOWLEDGED),
    ];
    assert_eq!(history(writes, vec![]).violations(&end(&[1, 2])), []);
}

#[test]
fn nodes_that_differ_are_found() {
    let mut end = end(&[]);
    for (node, digest) in [("a", "1"), ("b", "1"), ("c", "2")] {
        end.digests.insert(node.to_owned(), digest.to_owned());
    }
    let found = History::default().violations(&end);
    let [Violation::NotEqual { .. }] = found.as_slice() else {
        panic!("{found:?}");
    };
}

#[test]
fn a_loss_explains_what_lacks_the_lost_write_and_nothing_else() {
    let writes = vec![
        write(1, "a", 0, ACKNOWLEDGED),
        write(2, "a", 20, ACKNOWLEDGED),
        write(3, "b", 40, WriteOutcome::Refused),
    ];
    let end = end(&[2, 3]);
    let found = history(writes, vec![read("b", 60, &[])]).violations(&end);
    let left: Vec<&Violation> = found
        .iter()
        .filter(|violation| !violation.follows_from_a_loss(&end))
        .collect();
    // The read lacks 2 as well, which is there in the end.
    let [
        Violation::Missed { number: 2, .. },
        Violation::Phantom { number: 3, .. },
    ] = left.as_slice()
    else {
        panic!("{left:?}");
    };
}
