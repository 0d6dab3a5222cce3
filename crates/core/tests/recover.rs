//! What record takes the place of one that the store has lost, and when none does.

use std::collections::{BTreeMap, BTreeSet};

use manada_core::action::Order;
use manada_core::input::{Command, Input, LeaderServer, StoreState};
use manada_core::node::{Limits, Node};
use manada_core::obstacle::Obstacle;
use manada_core::policy::{Policy, Published};
use manada_core::position::{Epoch, Position};
use manada_core::record::{Desired, MemberRole, Record, Revision, Versioned, WhenShort};
use manada_core::recover::{Doubt, Hearing, Recovery, Refusal, Testimony, Way, is_lost, recover};
use manada_core::server::{Enforced, Gate, PrimaryFacts, Promise, ServerFacts};
use manada_core::timer::{Moment, Timer, Timings};
use manada_model::{Lsn, NodeName, SyncMethod};

fn name(text: &str) -> NodeName {
    text.parse().expect("a name")
}

fn any(count: u32, standbys: &[&str]) -> Policy {
    Policy {
        method: SyncMethod::Any,
        count,
        standbys: standbys.iter().map(|text| name(text)).collect(),
    }
}

/// A record of a, b and c, in which a leads.
fn record(epoch: u64, revision: u64, policy: Policy) -> Versioned<Record> {
    let server = MemberRole::Server { priority: 100 };
    let members = ["a", "b", "c"].map(|text| (name(text), server));
    let desired = Desired {
        method: policy.method,
        count: policy.count,
        standbys: None,
        when_short: WhenShort::Block,
    };
    let founded = Record::found(
        name("a"),
        Position::default(),
        policy,
        desired,
        members.into(),
    );
    Versioned {
        revision: Revision(revision),
        value: Record {
            epoch: Epoch(epoch),
            ..founded
        },
    }
}

/// A herd in epoch 3, each of whose nodes has seen the record.
struct Herd {
    found: Option<Versioned<Record>>,
    heard: BTreeMap<NodeName, Testimony>,
    without: BTreeSet<NodeName>,
    accept_loss: bool,
}

impl Herd {
    fn well() -> Herd {
        Herd::of(any(1, &["b", "c"]))
    }

    fn of(policy: Policy) -> Herd {
        let testimony = |text: &str| {
            let testimony = Testimony {
                promised: Epoch(3),
                record: Some(record(3, 70, policy.clone())),
                confirmed: (text == "a").then_some(Epoch(3)),
            };
            (name(text), testimony)
        };
        Herd {
            found: None,
            heard: ["a", "b", "c"].map(testimony).into(),
            without: BTreeSet::new(),
            accept_loss: false,
        }
    }

    fn without(mut self, text: &str) -> Herd {
        self.heard.remove(&name(text));
        self.without.insert(name(text));
        self
    }

    fn at(&mut self, text: &str) -> &mut Testimony {
        self.heard.get_mut(&name(text)).expect("it is heard")
    }

    fn recover(&self) -> Result<Recovery, Refusal> {
        recover(&Hearing {
            found: self.found.as_ref(),
            heard: &self.heard,
            without: &self.without,
            accept_loss: self.accept_loss,
            coordinator: &name("b"),
        })
    }

    /// The record in which those elect.
    fn elects(&self, among: &[&str]) -> Record {
        let Recovery { record, way } = self.recover().expect("it is taken up again");
        let among: Vec<NodeName> = among.iter().map(|text| name(text)).collect();
        let epoch = record.epoch;
        assert_eq!(way, Way::Election { epoch, among });
        assert_eq!((&record.leader, &record.coordinator), (&None, &name("b")));
        record
    }

    fn doubt(&self) -> Doubt {
        match self.recover() {
            Err(Refusal::MayLose { doubt }) => doubt,
            other => panic!("it is not refused for that: {other:?}"),
        }
    }
}

fn covered(record: &Record, recruits: &[&str]) -> bool {
    let recruits: BTreeSet<NodeName> = recruits.iter().map(|text| name(text)).collect();
    let mut policies = record.policies.iter();
    policies.all(|published| published.is_covered_by(&recruits))
}

#[test]
fn a_store_is_behind_what_is_known_or_promised() {
    let known = record(3, 70, any(1, &["b", "c"]));
    let known = Some(&known);
    assert!(!is_lost(None, None, Epoch(0)), "a herd that never was");
    assert!(is_lost(None, known, Epoch(0)));
    assert!(is_lost(None, None, Epoch(1)));
    assert!(!is_lost(known, known, Epoch(3)));
    assert!(is_lost(known, known, Epoch(4)));
    let older = record(3, 69, any(1, &["b"]));
    assert!(is_lost(Some(&older), known, Epoch(3)));
    assert!(!is_lost(known, Some(&older), Epoch(3)));
    let mut again = record(3, 1, any(1, &["b", "c"]));
    again.value.recoveries = 1;
    assert!(!is_lost(Some(&again), known, Epoch(3)));
    assert!(is_lost(known, Some(&again), Epoch(3)));
}

#[test]
fn a_leader_that_vouches_for_the_record_goes_on() {
    let herd = Herd::well();
    let Recovery { record: now, way } = herd.recover().expect("it is taken up again");
    assert_eq!(way, Way::GoesOn { leader: name("a") });
    let lost = record(3, 70, any(1, &["b", "c"])).value;
    let recoveries = lost.recoveries + 1;
    assert_eq!(now, Record { recoveries, ..lost });
}

#[test]
fn the_newest_record_that_anybody_remembers_is_written() {
    let mut herd = Herd::well();
    herd.at("c").record = Some(record(3, 71, any(1, &["b"])));
    herd.at("b").record = None;
    herd.found = Some(record(2, 9, any(1, &["c"])));
    let now = herd.elects(&["a", "b", "c"]);
    let last = now.policies.last().expect("never empty");
    assert_eq!(last.policy, any(1, &["b"]));

    herd.at("a").record = Some(record(3, 71, any(1, &["b"])));
    let Recovery { record: now, way } = herd.recover().expect("it is taken up again");
    assert_eq!(way, Way::GoesOn { leader: name("a") });
    assert_eq!(now.policies[0].policy, any(1, &["b"]));
}

/// Its agent was started without a memory, and found in a store that was restored what it had
/// published before.
#[test]
fn a_leader_vouches_for_no_record_but_the_one_that_it_goes_by() {
    for revision in [69, 70] {
        let mut herd = Herd::of(any(2, &["b", "c"]));
        let restored = record(3, revision, any(1, &["b", "c"]));
        herd.at("a").record = Some(restored.clone());
        herd.found = Some(restored).filter(|found| found.revision < Revision(70));
        let now = herd.elects(&["a", "b", "c"]);
        assert!(!covered(&now, &["b", "c"]), "only a may have all commits");
    }
    let mut herd = Herd::well();
    herd.at("a").record = Some(record(3, 69, any(1, &["b"])));
    let leader = name("a");
    let doubt = herd.without("c").doubt();
    assert_eq!(doubt, Doubt::LeaderGoesByAnother { leader });
}

#[test]
fn who_goes_by_less_than_its_disk_has_vouches_for_nothing() {
    let (older, newer) = (record(3, 69, any(1, &["b"])), record(3, 70, any(1, &["c"])));
    let position = Position::default();
    let server = |policy| {
        ServerFacts::Primary(PrimaryFacts {
            position,
            recovery_end_lsn: Lsn::INVALID,
            enforced: Enforced::Policy(policy),
            gate: Gate::Open,
            followers: Vec::new(),
        })
    };
    let confirmed = Some(Epoch(3));
    let says = |known, disk, policy| {
        Testimony::of(
            Epoch(3),
            Some(known),
            disk,
            confirmed,
            Some(&server(policy)),
        )
    };
    assert_eq!(says(&older, None, any(1, &["b"])).confirmed, confirmed);
    assert_eq!(says(&older, None, any(1, &["c"])).confirmed, None);
    let behind = says(&older, Some(&newer), any(1, &["b"]));
    assert_eq!((behind.record, behind.confirmed), (Some(newer), None));
}

#[test]
fn nothing_is_written_over_a_record_that_is_not_behind() {
    let mut herd = Herd::well();
    herd.found = Some(record(3, 70, any(1, &["b", "c"])));
    assert_eq!(herd.recover(), Err(Refusal::NothingIsLost));
    herd.found = Some(record(4, 90, any(1, &["b", "c"])));
    assert_eq!(herd.recover(), Err(Refusal::NothingIsLost));
    for text in ["a", "b", "c"] {
        herd.at(text).record = None;
    }
    assert_eq!(herd.recover(), Err(Refusal::NobodyRemembers));
}

#[test]
fn who_was_not_heard_has_to_be_left_out_by_name() {
    let mut herd = Herd::well();
    let c = herd.heard.remove(&name("c")).expect("heard");
    let nodes = vec![name("c")];
    assert_eq!(herd.recover(), Err(Refusal::Silent { nodes }));
    herd.without.insert(name("c"));
    assert!(herd.recover().is_ok());
    herd.heard.insert(name("c"), c);
    let node = name("c");
    assert_eq!(herd.recover(), Err(Refusal::Heard { node }));
    herd.without = BTreeSet::from([name("z")]);
    let node = name("z");
    assert_eq!(herd.recover(), Err(Refusal::NotAMember { node }));
}

#[test]
fn a_leader_goes_on_without_nodes_that_could_not_replace_it() {
    let way = Herd::well().without("c").recover().map(|it| it.way);
    assert_eq!(way, Ok(Way::GoesOn { leader: name("a") }));
    // c alone has every commit that a acknowledged.
    let herd = Herd::of(any(2, &["b", "c"])).without("c");
    assert_eq!(herd.doubt(), Doubt::CouldHaveElected);
    // A change to c alone may be concluded, which nobody heard of.
    let mut herd = Herd::well().without("c");
    for testimony in herd.heard.values_mut() {
        let record = testimony.record.as_mut().expect("remembered");
        record.value.policies.push(Published {
            leader: name("a"),
            policy: any(1, &["c"]),
        });
    }
    assert_eq!(herd.doubt(), Doubt::CouldHaveElected);
    // Where commits wait for nobody, another takes over once the lease has lapsed.
    let herd = Herd::of(Policy::asynchronous()).without("c");
    assert_eq!(herd.doubt(), Doubt::CouldHaveElected);
}

#[test]
fn what_is_not_certain_is_found_out_by_an_election_of_all() {
    let mut forgetful = Herd::well();
    forgetful.at("a").confirmed = None;
    let now = forgetful.elects(&["a", "b", "c"]);
    assert_eq!(now.epoch, Epoch(4));
    assert!(covered(&now, &["a", "b", "c"]));
    for missing in [["a", "b"], ["b", "c"], ["a", "c"]] {
        assert!(!covered(&now, &missing), "{missing:?}");
    }
    let last = now.policies.last().expect("never empty");
    assert_eq!(last.leader, name("a"), "who led is known");

    let mut outdone = Herd::well();
    outdone.at("b").promised = Epoch(5);
    assert_eq!(outdone.elects(&["a", "b", "c"]).epoch, Epoch(6));

    let mut electing = Herd::well();
    let mut raised = record(4, 71, any(1, &["b", "c"]));
    raised.value.leader = None;
    electing.at("b").record = Some(raised);
    assert_eq!(electing.elects(&["a", "b", "c"]).epoch, Epoch(5));
}

#[test]
fn an_election_without_some_needs_the_operators_word() {
    let mut forgetful = Herd::well().without("c");
    forgetful.at("a").confirmed = None;
    let leader = name("a");
    assert_eq!(forgetful.doubt(), Doubt::LeaderForgot { leader });
    let leader = name("a");
    let mut headless = Herd::well().without("a");
    assert_eq!(headless.doubt(), Doubt::LeaderIsAway { leader });
    let mut outdone = Herd::well().without("c");
    outdone.at("b").promised = Epoch(4);
    let (promised, remembered) = (Epoch(4), Epoch(3));
    assert_eq!(
        outdone.doubt(),
        Doubt::LaterEpoch {
            promised,
            remembered
        }
    );

    headless.accept_loss = true;
    let now = headless.elects(&["b", "c"]);
    assert!(covered(&now, &["b", "c"]));
    assert!(!covered(&now, &["b"]));
    // What the others can't cover is given up.
    let mut alone = Herd::of(any(2, &["a", "c"])).without("a").without("c");
    alone.accept_loss = true;
    assert!(covered(&alone.elects(&["b"]), &["b"]));
}

#[test]
fn a_witness_calls_no_election() {
    let mut herd = Herd::well();
    for testimony in herd.heard.values_mut() {
        testimony.confirmed = None;
        let record = testimony.record.as_mut().expect("remembered");
        record.value.members.insert(name("b"), MemberRole::Witness);
    }
    let node = name("b");
    assert_eq!(herd.recover(), Err(Refusal::CannotCall { node }));
}

fn node() -> Node {
    let limits = Limits {
        timings: Timings::default(),
        loss_bytes_max: 0,
    };
    Node::new(name("b"), Promise::default(), limits)
}

#[test]
fn a_record_of_a_later_recovery_is_taken_whatever_its_revision() {
    let (mut node, now) = (node(), Moment::default());
    node.handle(Input::Record(record(3, 70, any(1, &["b", "c"]))), now);
    let mut again = record(3, 1, any(1, &["b", "c"]));
    again.value.recoveries = 1;
    node.handle(Input::Record(again.clone()), now);
    assert_eq!(node.record(), Some(&again));
    node.handle(Input::Record(record(4, 71, any(1, &["b", "c"]))), now);
    assert_eq!(node.record(), Some(&again));
}

#[test]
fn a_store_that_has_lost_the_record_is_asked_for_no_change() {
    let (mut node, now) = (node(), Moment::default());
    node.handle(Input::Store(StoreState::RecordLost), now);
    assert_eq!(node.obstacles(), [Obstacle::RecordLost]);
    node.handle(Input::Record(record(3, 70, any(1, &["b", "c"]))), now);
    assert!(node.obstacles().contains(&Obstacle::RecordLost));
    let objection = node.objection(&Command::Pause);
    assert_eq!(objection, Some(Obstacle::RecordLost));
    // The leader is lost, and this node would campaign.
    node.handle(Input::Timer(Timer::LeaseLapsed), now);
    node.handle(Input::LeaderServer(LeaderServer::Silent), now);
    node.handle(Input::Timer(Timer::Campaign), now);
    while let Some(action) = node.poll_action() {
        let swaps = matches!(action.order, Order::Swap { .. });
        assert!(!swaps, "{action:?}");
    }
}
