//! What an agent does that was started again and has read an old record: nothing to its server.

use manada_core::action::{ActionId, Order};
use manada_core::input::{Input, Outcome};
use manada_core::node::{Limits, Node};
use manada_core::policy::Policy;
use manada_core::position::{Epoch, Position, RuleId};
use manada_core::record::{Desired, MemberRole, Record, Revision, Versioned, WhenShort};
use manada_core::server::{Enforced, Follower, Gate, PrimaryFacts, Promise, ServerFacts};
use manada_core::timer::{Moment, Timings};
use manada_model::{Lsn, NodeName, SyncMethod};

const EPOCH: Epoch = Epoch(2);

/// The number that the core gives to a sign of life.
const RENEWAL: ActionId = ActionId(4);

fn name(text: &str) -> NodeName {
    text.parse().expect("a name")
}

fn any(count: u32) -> Policy {
    Policy {
        method: SyncMethod::Any,
        count,
        standbys: vec![name("b"), name("c")],
    }
}

/// a leads, whose commits wait for so many.
fn record(revision: u64, count: u32) -> Versioned<Record> {
    let server = MemberRole::Server { priority: 1 };
    let members = ["a", "b", "c"].map(|text| (name(text), server));
    let desired = Desired {
        method: SyncMethod::Any,
        count,
        standbys: None,
        when_short: WhenShort::Block,
    };
    let position = Position::default();
    let founded = Record::found(name("a"), position, any(count), desired, members.into());
    Versioned {
        revision: Revision(revision),
        value: Record {
            epoch: EPOCH,
            ..founded
        },
    }
}

/// The agent of a, which is a primary since epoch 2, whose commits wait for both.
fn restarted() -> Node {
    let rule = RuleId {
        epoch: EPOCH,
        sub: 1,
    };
    let promise = Promise {
        epoch: EPOCH,
        led: Some(EPOCH),
        followed: None,
        rule,
    };
    let limits = Limits {
        timings: Timings::default(),
        loss_bytes_max: 0,
    };
    let end = Lsn(100);
    let streams = |text| Follower {
        name: name(text),
        streaming: true,
        replied: true,
        flush_lsn: end,
    };
    let mut node = Node::new(name("a"), promise, limits);
    let facts = ServerFacts::Primary(PrimaryFacts {
        position: Position {
            rule,
            flush_lsn: end,
        },
        recovery_end_lsn: Lsn::INVALID,
        enforced: Enforced::Policy(any(2)),
        gate: Gate::Open,
        followers: vec![streams("b"), streams("c")],
    });
    node.handle(Input::Server(facts), Moment::default());
    node
}

/// What it orders when it is given that.
fn orders(node: &mut Node, input: Input) -> Vec<Order> {
    node.handle(input, Moment::default());
    std::iter::from_fn(|| node.poll_action().map(|action| action.order)).collect()
}

#[test]
fn an_older_policy_is_not_put_in_force() {
    let mut node = restarted();
    let given = orders(&mut node, Input::Record(record(5, 1)));
    let to_store = |order: &Order| matches!(order, Order::RenewLease { .. } | Order::Swap { .. });
    assert!(!given.is_empty() && given.iter().all(to_store), "{given:?}");
    let newer = Input::Done {
        action: RENEWAL,
        outcome: Outcome::Conflict(record(7, 2)),
    };
    let given = orders(&mut node, newer);
    assert!(given.iter().all(to_store), "{given:?}");
    assert_eq!(node.record(), Some(&record(7, 2)));
}

#[test]
fn a_policy_that_the_store_has_confirmed_is() {
    let mut node = restarted();
    orders(&mut node, Input::Record(record(5, 1)));
    assert_eq!(node.confirmed(), None);
    let renewed = Input::Done {
        action: RENEWAL,
        outcome: Outcome::Done,
    };
    let given = orders(&mut node, renewed);
    assert_eq!(node.confirmed(), Some(EPOCH));
    assert!(
        given.contains(&Order::Enforce(Enforced::Policy(any(1)))),
        "{given:?}"
    );
}

#[test]
fn a_record_of_before_its_reign_stops_no_primary() {
    let election = Versioned {
        value: Record {
            leader: None,
            coordinator: name("b"),
            ..record(4, 2).value
        },
        revision: Revision(4),
    };
    let former = Versioned {
        value: Record {
            epoch: Epoch(1),
            leader: Some(name("b")),
            ..record(3, 2).value
        },
        revision: Revision(3),
    };
    for old in [election, former] {
        let mut node = restarted();
        let given = orders(&mut node, Input::Record(old.clone()));
        assert_eq!(given, [], "{old:?}");
        orders(&mut node, Input::Record(record(5, 2)));
        assert_eq!(node.record(), Some(&record(5, 2)));
    }
}
