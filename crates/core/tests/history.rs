//! Whose WAL is a part of the leader's.

use manada_core::history::{Relation, reigns_with, relation};
use manada_core::position::{Epoch, Followed, LastWord, Position, RuleId};
use manada_core::record::{REIGNS_MAX, Reign};
use manada_model::Lsn;

fn at(epoch: u64, lsn: u64) -> Position {
    Position {
        rule: RuleId {
            epoch: Epoch(epoch),
            sub: 0,
        },
        flush_lsn: Lsn(lsn),
    }
}

/// WAL that ends there, and is all of reigns whose rules are in it.
fn end(epoch: u64, lsn: u64) -> LastWord {
    LastWord::of(at(epoch, lsn), None)
}

/// WAL that ends there, of a node that followed in that reign last.
fn followed(epoch: u64, lsn: u64, reign: u64, from: u64) -> LastWord {
    let followed = Followed {
        epoch: Epoch(reign),
        from: Lsn(from),
    };
    LastWord::of(at(epoch, lsn), Some(followed))
}

fn reign(epoch: u64, began_at: Position) -> Reign {
    Reign {
        epoch: Epoch(epoch),
        leader: "a".parse().expect("a name"),
        began_at,
        unruled: None,
    }
}

/// Reigns 1, 2 and 4; who led in 3 was not seen by the one who leads in 4.
fn reigns() -> Vec<Reign> {
    vec![
        reign(1, at(0, 0)),
        reign(2, at(1, 100)),
        reign(4, at(2, 200)),
    ]
}

fn diverged(at: Option<u64>, must_clone: bool) -> Relation {
    Relation::Diverged {
        at: at.map(Lsn),
        must_clone,
    }
}

#[test]
fn wal_that_ends_before_the_next_reign_began_is_a_part() {
    assert_eq!(relation(end(1, 100), None, &reigns()), Relation::Part);
    assert_eq!(relation(end(2, 150), None, &reigns()), Relation::Part);
    assert_eq!(relation(end(4, 900), None, &reigns()), Relation::Part);
}

#[test]
fn wal_beyond_where_the_next_reign_began_has_diverged_there() {
    assert_eq!(
        relation(end(1, 101), None, &reigns()),
        diverged(Some(100), false)
    );
    assert_eq!(
        relation(end(2, 201), None, &reigns()),
        diverged(Some(200), false)
    );
}

#[test]
fn wal_with_a_rule_of_a_reign_outside_of_the_history_is_cloned() {
    assert_eq!(relation(end(3, 150), None, &reigns()), diverged(None, true));
    assert_eq!(relation(end(5, 150), None, &reigns()), diverged(None, true));
}

#[test]
fn wal_without_a_rule_is_of_the_first_reign() {
    assert_eq!(relation(end(0, 100), None, &reigns()), Relation::Part);
    assert_eq!(
        relation(end(0, 101), None, &reigns()),
        diverged(Some(100), false)
    );
    let later = vec![reign(2, at(2, 100))];
    assert_eq!(relation(end(0, 1), None, &later), diverged(None, true));
}

#[test]
fn who_was_promoted_in_a_reign_outside_of_the_history_is_cloned() {
    // It may have been promoted to the timeline id that the leader has.
    let led = Some(Epoch(3));
    assert_eq!(relation(end(2, 150), led, &reigns()), diverged(None, true));
}

#[test]
fn who_led_in_the_history_or_has_a_later_rule_follows() {
    assert_eq!(
        relation(end(2, 150), Some(Epoch(2)), &reigns()),
        Relation::Part
    );
    // The rule of 4 came from its leader, whom it followed only as a part of its history.
    assert_eq!(
        relation(end(4, 250), Some(Epoch(3)), &reigns()),
        Relation::Part
    );
}

#[test]
fn a_new_reign_forgets_those_that_its_leader_has_not_seen() {
    let next = reigns_with(&reigns(), reign(5, at(2, 180)));
    let epochs: Vec<u64> = next.iter().map(|reign| reign.epoch.0).collect();
    assert_eq!(epochs, [1, 2, 5]);
    assert_eq!(
        relation(end(4, 210), None, &next),
        diverged(None, true),
        "the leader of 4 was left behind"
    );
}

#[test]
fn a_record_remembers_a_bounded_number_of_reigns() {
    let mut reigns = reigns();
    for epoch in 5..200 {
        let began_at = at(epoch - 1, epoch * 100);
        reigns = reigns_with(&reigns, reign(epoch, began_at));
    }
    assert_eq!(reigns.len(), REIGNS_MAX);
    assert_eq!(relation(end(1, 50), None, &reigns), diverged(None, true));
}

/// Reign 3 was lost before its rule was written: its leader was promoted at 150.
mod a_reign_without_a_rule {
    use super::*;

    /// An old leader's WAL of reign 2 went further, and it leads in 4.
    fn after_the_old_leader() -> Vec<Reign> {
        reigns()
    }

    /// One leads in 4 that had followed in 3, and had its WAL up to 160.
    fn after_a_follower() -> Vec<Reign> {
        let mut reigns = vec![reign(1, at(0, 0)), reign(2, at(1, 100))];
        reigns.push(Reign {
            unruled: followed(2, 160, 3, 150).unruled,
            ..reign(4, at(2, 160))
        });
        reigns
    }

    #[test]
    fn has_left_wal_that_is_not_the_old_leaders() {
        let reigns = after_the_old_leader();
        let diverged = diverged(Some(150), true);
        assert_eq!(relation(followed(2, 151, 3, 150), None, &reigns), diverged);
        assert_eq!(
            relation(followed(2, 150, 3, 150), None, &reigns),
            Relation::Part,
            "nothing of it had come"
        );
    }

    #[test]
    fn has_left_wal_that_a_follower_goes_on_from() {
        let reigns = after_a_follower();
        for lsn in [151, 160] {
            assert_eq!(
                relation(followed(2, lsn, 3, 150), None, &reigns),
                Relation::Part
            );
            assert_eq!(
                relation(followed(2, lsn, 3, 150), Some(Epoch(3)), &reigns),
                Relation::Part,
                "its leader's"
            );
        }
        assert_eq!(
            relation(followed(2, 161, 3, 150), None, &reigns),
            diverged(Some(160), false)
        );
    }

    #[test]
    fn parts_those_who_had_no_part_in_it_where_it_began() {
        let reigns = after_a_follower();
        assert_eq!(relation(end(2, 150), None, &reigns), Relation::Part);
        assert_eq!(
            relation(end(2, 151), None, &reigns),
            diverged(Some(150), false)
        );
    }

    #[test]
    fn is_not_the_first_one() {
        assert_eq!(followed(0, 100, 1, 0).unruled, None);
    }

    #[test]
    fn counts_as_itself_where_its_rule_has_come_to_others() {
        let reigns = reigns();
        assert_eq!(
            relation(followed(2, 250, 4, 200), None, &reigns),
            Relation::Part
        );
        assert_eq!(
            relation(end(2, 250), None, &reigns),
            diverged(Some(200), false)
        );
    }
}
