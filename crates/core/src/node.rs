//! One node's decisions: inputs go in, actions come out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use manada_model::{Lsn, NodeName};

use crate::action::{Action, ActionId, Order};
use crate::guards::Guards;
use crate::input::{Command, Input, LeaderServer, StoreState};
use crate::lane::Lane;
use crate::lease::Lease;
use crate::loss::LossBound;
use crate::obstacle::Obstacle;
use crate::policy::Policy;
use crate::position::{Epoch, Followed, LastWord, Rule, RuleId};
use crate::reason::Reason;
use crate::record::{MemberRole, Record, Revision, Versioned};
use crate::rules::{self, Decision, Mark};
use crate::server::{PrimaryFacts, Promise, ServerFacts, StandbyFacts};
use crate::timer::{Moment, Timer, Timings};

/// How many rules may follow from one input. What is left to do is done at the next one; no
/// herd comes near it.
const DECISIONS_MAX: usize = 64;

/// How many commands wait to be written into the record.
pub(crate) const WISHES_MAX: usize = 16;

/// What an operator sets once for all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How long everything may take.
    pub timings: Timings,
    /// How much WAL of an asynchronous leader a failover may give up by itself.
    pub loss_bytes_max: u64,
}

/// A node's core.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub(crate) name: NodeName,
    pub(crate) limits: Limits,
    pub(crate) guards: Guards,
    /// What is durable of what it promised.
    pub(crate) promise: Promise,
    pub(crate) record: Option<Arc<Versioned<Record>>>,
    /// The last epoch in which the store has changed something under the record that was known.
    pub(crate) confirmed: Option<Epoch>,
    /// What the record has this node as: looked up once, since every rule asks.
    pub(crate) role: Option<MemberRole>,
    pub(crate) store: StoreState,
    pub(crate) lease: Option<Lease>,
    /// What the leader's server last said, since its lease lapsed.
    pub(crate) leader_server: Option<LeaderServer>,
    pub(crate) server: Option<ServerFacts>,
    /// Whether the server was a primary when its role was last seen.
    pub(crate) was_primary: bool,
    /// The highest rule that was seen in the WAL of the data as it is now.
    pub(crate) rule_seen: Option<RuleId>,
    pub(crate) summons: Option<Summons>,
    /// Who is to be told that something higher is promised.
    pub(crate) refuse: Option<NodeName>,
    /// The summons that was last answered.
    pub(crate) answered: Option<(Epoch, NodeName)>,
    /// WAL that the coordinator wants fetched.
    pub(crate) fetch: Option<Fetch>,
    pub(crate) election: Election,
    pub(crate) tenure: Tenure,
    pub(crate) resignation: Option<Resignation>,
    pub(crate) handover: Option<Handover>,
    pub(crate) following: Following,
    pub(crate) rejoin: Ladder,
    /// What operators want written into the record.
    pub(crate) wishes: VecDeque<Command>,
    /// An election that the operator wants.
    pub(crate) failover: Option<FailoverWish>,
    /// Standbys of this leader that have been away for long.
    pub(crate) away: BTreeSet<NodeName>,
    /// Standbys of this leader that have streamed for a while.
    pub(crate) settled: BTreeSet<NodeName>,
    /// The revision that all members have been told of.
    pub(crate) tell_record: bool,
    pub(crate) agent_restart: AgentRestart,
    /// Whether a renewal has succeeded, and its lease has not ended.
    pub(crate) lease_is_held: bool,
    /// Whether it was this node that stopped its server.
    pub(crate) stopped_here: bool,
    /// Why the last command for a handover or a failover came to nothing.
    pub(crate) refused: Option<Obstacle>,
    pub(crate) lanes: Lanes,
    pub(crate) armed: BTreeMap<Timer, Moment>,
    pub(crate) fired: BTreeSet<Timer>,
    actions: VecDeque<Action>,
}

/// Whether the agent is about to end and to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AgentRestart {
    No,
    /// A long lease is to be taken.
    Announced,
    /// It has been ordered, and no shorter one shall take its place.
    Said,
}

/// A coordinator's call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Summons {
    pub(crate) epoch: Epoch,
    pub(crate) by: NodeName,
}

/// WAL that the coordinator wants this node to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fetch {
    pub(crate) epoch: Epoch,
    pub(crate) from: NodeName,
    pub(crate) upto: Lsn,
    /// What of it is of a reign whose rule is not in it.
    pub(crate) unruled: Option<Followed>,
}

/// What a coordinator knows of the epoch that it has raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Election {
    pub(crate) epoch: Epoch,
    pub(crate) recruits: BTreeMap<NodeName, LastWord>,
    /// The highest that a member said it has promised.
    pub(crate) refused: Epoch,
    pub(crate) asked: bool,
    /// Who is preferred among those with equal WAL.
    pub(crate) preferred: Option<NodeName>,
    /// Who resigned, and so is left out if the others cover every policy.
    pub(crate) shunned: Option<NodeName>,
    /// The reign whose leader had resigned, and had not withdrawn it when the epoch was raised: its
    /// server is not started any more in that reign.
    pub(crate) ended: Option<Epoch>,
    /// What the operator allows to be lost.
    pub(crate) allowed_loss: Option<LossBound>,
    /// Who was told to fetch, and from whom.
    pub(crate) fetcher: Option<(NodeName, NodeName, LastWord)>,
}

/// What a leader knows of its own reign since its server became a primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tenure {
    pub(crate) epoch: Epoch,
    /// The rule that it wrote last, and where its WAL ends.
    pub(crate) rule: Option<(Rule, Lsn)>,
    /// The policy that was proven to be in force.
    pub(crate) proven: Option<Policy>,
    /// The follower that was furthest when the server was last seen.
    pub(crate) heir: Option<NodeName>,
    /// How often promotion failed.
    pub(crate) failures: u32,
    /// Whether this agent, or one before it, may have resigned since it last changed the record.
    pub(crate) may_have_resigned: bool,
}

/// A leader's word that it makes way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resignation {
    pub(crate) epoch: Epoch,
    pub(crate) leader: NodeName,
    /// The place of the record that it knew.
    pub(crate) of: (u32, Revision),
    pub(crate) successor: Option<NodeName>,
    /// How many signs of life were seen since. One may have been under way.
    pub(crate) beats: u8,
}

/// A switchover on the side of the one who leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handover {
    pub(crate) to: Option<NodeName>,
    pub(crate) epoch: Epoch,
    /// Set once the gate is to be closed: then there is no way back but a start in place.
    pub(crate) successor: Option<NodeName>,
    pub(crate) checkpointed: bool,
}

/// An election that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FailoverWish {
    pub(crate) to: Option<NodeName>,
    pub(crate) allowed_loss: Option<LossBound>,
    /// The epoch that it ends.
    pub(crate) epoch: Epoch,
}

/// Whom this node has been made to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Following {
    /// Ordered, and done, in that epoch.
    pub(crate) leader: Option<(Epoch, NodeName)>,
}

/// How far the ladder of rejoining was climbed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ladder {
    pub(crate) rewinds: u32,
    pub(crate) clones: u32,
    /// The data was brought back, which the promise does not say yet.
    pub(crate) cleansed: bool,
    /// When the last try began.
    pub(crate) began: Moment,
    /// How long to wait after a try that failed.
    pub(crate) pause: Option<Duration>,
}

/// What is under way, by what executes it: one at a time in each lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lanes {
    pub(crate) server: Lane,
    pub(crate) store: Lane,
    pub(crate) promise: Lane,
    pub(crate) renewal: Option<RenewalUnderWay>,
    pub(crate) renewal_failed: bool,
    /// The store has definitely not done the last renewal: it may answer and refuse.
    pub(crate) renewal_refused: bool,
    pub(crate) deadman: Option<Option<Moment>>,
    /// What the deadman was last told, as far as it is known.
    pub(crate) deadline: Option<Option<Moment>>,
    pub(crate) probing: bool,
}

/// A sign of life of which the store has not yet said whether it was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RenewalUnderWay {
    pub(crate) ordered: Moment,
    pub(crate) holds_for: Duration,
    pub(crate) epoch: Epoch,
}

/// The kinds of actions that end in a `Done`, and the number that each has while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Told,
    Server,
    Swap,
    Promise,
    Renewal,
    Deadman,
}

impl Kind {
    pub(crate) fn of(order: &Order) -> Kind {
        match order {
            Order::Swap { .. } => Kind::Swap,
            Order::RenewLease { .. } => Kind::Renewal,
            Order::Promise(_) => Kind::Promise,
            Order::Send { .. } | Order::ProbeLeader { .. } => Kind::Told,
            Order::Deadman { .. } => Kind::Deadman,
            Order::StartStandby { .. }
            | Order::StartPrimary
            | Order::Checkpoint
            | Order::Stop(_)
            | Order::StopReceiving
            | Order::Follow { .. }
            | Order::Promote
            | Order::WriteRule(_)
            | Order::Enforce(_)
            | Order::SetGate(_)
            | Order::Rejoin { .. }
            | Order::FetchWal { .. } => Kind::Server,
        }
    }

    pub(crate) fn of_id(id: ActionId) -> Kind {
        match id.0 {
            1 => Kind::Server,
            2 => Kind::Swap,
            3 => Kind::Promise,
            4 => Kind::Renewal,
            5 => Kind::Deadman,
            _ => Kind::Told,
        }
    }

    fn id(self) -> ActionId {
        ActionId(match self {
            Kind::Told => 0,
            Kind::Server => 1,
            Kind::Swap => 2,
            Kind::Promise => 3,
            Kind::Renewal => 4,
            Kind::Deadman => 5,
        })
    }
}

impl Node {
    /// The core of that node, with what its disk says it has promised.
    pub fn new(name: NodeName, promise: Promise, limits: Limits) -> Node {
        Node {
            name,
            limits,
            guards: Guards::default(),
            promise,
            record: None,
            confirmed: None,
            role: None,
            store: StoreState::Reachable,
            lease: None,
            leader_server: None,
            server: None,
            was_primary: false,
            rule_seen: None,
            summons: None,
            refuse: None,
            answered: None,
            fetch: None,
            election: Election::default(),
            tenure: Tenure::default(),
            resignation: None,
            handover: None,
            following: Following::default(),
            rejoin: Ladder::default(),
            wishes: VecDeque::new(),
            failover: None,
            away: BTreeSet::new(),
            settled: BTreeSet::new(),
            tell_record: false,
            agent_restart: AgentRestart::No,
            lease_is_held: false,
            stopped_here: false,
            refused: None,
            lanes: Lanes::default(),
            armed: BTreeMap::new(),
            fired: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// The same without one of the conditions on which safety rests.
    #[cfg(feature = "mutation")]
    pub fn without(mut self, guard: crate::guards::Guard) -> Node {
        self.guards = self.guards.without(guard);
        self
    }

    /// Takes an input in, and decides. `now` only serves to say when timers are due.
    pub fn handle(&mut self, input: Input, now: Moment) {
        self.take(input, now);
        self.end_lease(now);
        self.wind_all(now);
        for _ in 0..DECISIONS_MAX {
            let Some(decision) = rules::RULES.iter().find_map(|rule| (rule.decide)(self)) else {
                break;
            };
            self.carry_out(decision, now);
            self.wind(now);
        }
    }

    /// The next action, in the order in which they were decided.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The timer that is due first, and when.
    pub fn poll_timeout(&self) -> Option<(Moment, Timer)> {
        let (timer, due) = self.armed.iter().min_by_key(|(_, due)| **due)?;
        Some((*due, timer.clone()))
    }

    /// All timers that run.
    pub fn timers(&self) -> &BTreeMap<Timer, Moment> {
        &self.armed
    }

    /// The newest record that was seen.
    pub fn record(&self) -> Option<&Versioned<Record>> {
        self.record.as_deref()
    }

    /// The last epoch in which the store has given this agent's sign of life, or swapped a record
    /// for one that it wrote. Until then what is known of an epoch may be older than what a former
    /// agent of this node did in it; from then on nobody but this agent changes the policies of its
    /// own reign.
    pub fn confirmed(&self) -> Option<Epoch> {
        self.confirmed
    }

    /// Its own name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// What is durable of what it has promised.
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// The lease as it was last seen.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    fn carry_out(&mut self, decision: Decision, now: Moment) {
        let Decision {
            orders,
            reason,
            mark,
        } = decision;
        for order in orders {
            let kind = Kind::of(&order);
            self.depart(kind, &order, now);
            self.actions.push_back(Action {
                id: kind.id(),
                order,
                reason: reason.clone(),
            });
        }
        if let Some(mark) = mark {
            self.remember(mark);
        }
    }

    /// Notes that an order is under way.
    fn depart(&mut self, kind: Kind, order: &Order, now: Moment) {
        match (kind, order) {
            (Kind::Server, _) => {
                if matches!(order, Order::Rejoin { .. }) {
                    self.rejoin.began = now;
                }
                self.tenure.may_have_resigned |= matches!(order, Order::StartPrimary);
                self.fired.remove(&Timer::Retry);
                self.lanes.server.order = Some(order.clone());
            }
            (Kind::Swap, _) => {
                self.fired.remove(&Timer::RetryStore);
                self.lanes.store.order = Some(order.clone());
            }
            (Kind::Promise, _) => {
                self.fired.remove(&Timer::RetryPromise);
                self.lanes.promise.order = Some(order.clone());
            }
            (Kind::Renewal, Order::RenewLease { holds_for, .. }) => {
                self.restart(&Timer::Beat);
                self.lanes.renewal = self.record.as_deref().map(|record| RenewalUnderWay {
                    ordered: now,
                    holds_for: *holds_for,
                    epoch: record.value.epoch,
                });
            }
            (Kind::Deadman, Order::Deadman { deadline }) => {
                self.lanes.deadman = Some(*deadline);
            }
            (Kind::Told, Order::ProbeLeader { .. }) => {
                self.restart(&Timer::AskAgain);
                self.lanes.probing = true;
            }
            _ => {}
        }
    }

    /// Remembers what an order alone does not show.
    fn remember(&mut self, mark: Mark) {
        match mark {
            Mark::Refused => self.refuse = None,
            Mark::Answered { epoch, to } => {
                self.answered = Some((epoch, to));
            }
            Mark::Counted { wal } => {
                self.answered = Some((self.election.epoch, self.name.clone()));
                self.election.recruits.insert(self.name.clone(), wal);
            }
            Mark::Asked => {
                self.election.asked = true;
                self.restart(&Timer::AskAgain);
            }
            Mark::FetchOrdered { by, from, wal } => {
                if by == self.name {
                    self.fetch = Some(Fetch {
                        epoch: self.election.epoch,
                        from: from.clone(),
                        upto: wal.position.flush_lsn,
                        unruled: wal.unruled,
                    });
                }
                self.election.fetcher = Some((by, from, wal));
                self.restart(&Timer::AskAgain);
            }
            Mark::Told => self.tell_record = false,
            Mark::Resigned(resignation) => {
                if self.own_resignation().is_none() {
                    self.restart(&Timer::ElectionStalled);
                }
                self.resignation = Some(resignation);
                self.tenure.may_have_resigned = true;
                self.handover = None;
            }
            Mark::HandoverBegun { successor } => {
                if let Some(handover) = &mut self.handover {
                    handover.successor = Some(successor);
                }
                self.restart(&Timer::HandoverStalled);
            }
            Mark::CommandDropped => {
                self.refused = match &self.handover {
                    Some(_) => self.successor().err(),
                    None => Some(Obstacle::StoreUnreachable),
                };
                self.handover = None;
                self.failover = None;
            }
            Mark::WishGranted => {
                self.wishes.pop_front();
            }
            Mark::AnswerUsed => self.leader_server = None,
            Mark::RestartSaid => self.agent_restart = AgentRestart::Said,
        }
    }
}

/// What rules ask.
impl Node {
    pub(crate) fn members(&self) -> Option<&BTreeMap<NodeName, MemberRole>> {
        self.record.as_deref().map(|record| &record.value.members)
    }

    pub(crate) fn standby(&self) -> Option<&StandbyFacts> {
        match &self.server {
            Some(ServerFacts::Standby(facts)) => Some(facts),
            _ => None,
        }
    }

    pub(crate) fn primary(&self) -> Option<&PrimaryFacts> {
        match &self.server {
            Some(ServerFacts::Primary(facts)) => Some(facts),
            _ => None,
        }
    }

    pub(crate) fn has_fired(&self, timer: &Timer) -> bool {
        self.fired.contains(timer)
    }

    /// Whether a server order may be given now. What makes the node safer waits for no pause
    /// after another order's failure.
    pub(crate) fn server_takes(&self, order: &Order) -> bool {
        self.lanes
            .server
            .takes(order, self.has_fired(&Timer::Retry))
    }

    pub(crate) fn store_is_free(&self) -> bool {
        self.store == StoreState::Reachable
            && self.lanes.store.order.is_none()
            && (self.lanes.store.failed.is_none() || self.has_fired(&Timer::RetryStore))
    }

    pub(crate) fn promise_is_free(&self) -> bool {
        self.lanes.promise.order.is_none()
            && (self.lanes.promise.failed.is_none() || self.has_fired(&Timer::RetryPromise))
    }

    /// Decides on a server order, if one may be given now.
    pub(crate) fn order_server(&self, order: Order, reason: Reason) -> Option<Decision> {
        self.server_takes(&order)
            .then(|| Decision::order(order, reason))
    }
}
