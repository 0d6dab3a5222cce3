//! How long one decision takes in a herd of a thousand: `cargo xtask bench core`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use manada_core::action::{ActionId, Order};
use manada_core::input::{Input, Outcome};
use manada_core::message::Message;
use manada_core::node::{Limits, Node};
use manada_core::policy::Policy;
use manada_core::position::{Epoch, LastWord, Position, RuleId};
use manada_core::record::{Desired, MemberRole, Record, Revision, Versioned, WhenShort};
use manada_core::server::{
    Enforced, Follower, Gate, PrimaryFacts, Promise, ServerFacts, StandbyFacts,
};
use manada_core::timer::{Moment, Timings};
use manada_model::{Lsn, NodeName, SyncMethod};

const MEMBERS: u64 = 1_000;
const LOOKS: u64 = 1_000;

fn main() {
    let mut looks = Times::default();
    let mut leader = node(0, Some(Epoch::FIRST));
    // Each agent looks at its server; the leader sees all that follow.
    for look in 0..LOOKS {
        looks.take(&mut leader, Input::Server(primary_at(look)));
    }
    looks.print("the leader takes a look at its server with 999 followers");

    let mut answers = Times::default();
    let mut coordinator = node(1, None);
    let mut record = record();
    record.epoch = Epoch(2);
    record.leader = None;
    record.coordinator = name(1);
    let raised = Versioned {
        revision: Revision(2),
        value: record,
    };
    let mut raise = Times::default();
    raise.take(&mut coordinator, Input::Server(standby_at(LOOKS)));
    raise.take(&mut coordinator, Input::Record(raised));
    raise.print("a coordinator takes the record of its epoch, and asks all");
    for member in (0..MEMBERS).filter(|member| *member != 1) {
        let message = Message::Recruited {
            epoch: Epoch(2),
            wal: LastWord::of(position(LOOKS), None),
        };
        let from = name(member);
        answers.take(&mut coordinator, Input::Message { from, message });
    }
    answers.print("a coordinator takes an answer, and chooses after the last");
}

/// How long inputs took.
#[derive(Default)]
struct Times {
    took: Vec<Duration>,
    now: u64,
}

impl Times {
    fn take(&mut self, node: &mut Node, input: Input) {
        self.now += 1;
        let begin = Instant::now();
        node.handle(input, Moment(Duration::from_millis(self.now)));
        self.took.push(begin.elapsed());
        // Promises are durable at once; what else was ordered is left under way.
        let mut kept = Vec::new();
        while let Some(action) = node.poll_action() {
            if matches!(action.order, Order::Promise(_)) {
                kept.push(action.id);
            }
        }
        for action in kept {
            self.done(node, action);
        }
    }

    fn done(&mut self, node: &mut Node, action: ActionId) {
        let outcome = Outcome::Done;
        self.take(node, Input::Done { action, outcome });
    }

    fn print(mut self, what: &str) {
        self.took.sort();
        let at = |part: usize| self.took[(self.took.len() - 1) * part / 100].as_micros();
        let line = format!(
            "{what}: p50 {} us, p99 {} us, max {} us",
            at(50),
            at(99),
            at(100)
        );
        writeln!(std::io::stdout(), "{line}").expect("standard output takes a line");
    }
}

fn name(number: u64) -> NodeName {
    format!("node{number:04}")
        .parse()
        .expect("it is made of letters and digits")
}

fn position(at: u64) -> Position {
    let rule = RuleId {
        epoch: Epoch::FIRST,
        sub: 0,
    };
    Position {
        rule,
        flush_lsn: Lsn(1_000 + at),
    }
}

fn policy() -> Policy {
    Policy {
        method: SyncMethod::Any,
        count: 500,
        standbys: (1..MEMBERS).map(name).collect(),
    }
}

fn record() -> Record {
    let members = (0..MEMBERS).map(|member| (name(member), MemberRole::Server { priority: 1 }));
    let desired = Desired {
        method: SyncMethod::Any,
        count: 500,
        standbys: None,
        when_short: WhenShort::Block,
    };
    Record::found(
        name(0),
        Position::default(),
        policy(),
        desired,
        members.collect(),
    )
}

fn node(number: u64, led: Option<Epoch>) -> Node {
    let promise = Promise {
        epoch: Epoch::FIRST,
        led,
        followed: None,
        rule: RuleId::default(),
    };
    let limits = Limits {
        timings: Timings::default(),
        loss_bytes_max: 0,
    };
    let mut node = Node::new(name(number), promise, limits);
    let record = Versioned {
        revision: Revision(1),
        value: record(),
    };
    node.handle(Input::Record(record), Moment::default());
    node
}

fn primary_at(look: u64) -> ServerFacts {
    let follower = |member| Follower {
        name: name(member),
        streaming: true,
        replied: true,
        flush_lsn: Lsn(1_000 + look),
    };
    ServerFacts::Primary(PrimaryFacts {
        position: position(look),
        recovery_end_lsn: Lsn(1),
        enforced: Enforced::Policy(policy()),
        gate: Gate::Open,
        followers: (1..MEMBERS).map(follower).collect(),
    })
}

fn standby_at(look: u64) -> ServerFacts {
    ServerFacts::Standby(StandbyFacts {
        position: position(look),
        settled: true,
        follows: None,
        streams: false,
    })
}
