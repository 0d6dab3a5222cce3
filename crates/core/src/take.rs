//! Inputs become knowledge. Nothing is decided here.

use std::sync::Arc;

use manada_model::NodeName;

use crate::action::{Order, Rung};
use crate::input::{Command, Input, Outcome, StoreState};
use crate::lane::End;
use crate::lease::Lease;
use crate::message::Message;
use crate::node::{
    AgentRestart, FailoverWish, Fetch, Following, Handover, Kind, Node, Resignation, Summons,
    WISHES_MAX,
};
use crate::position::Epoch;
use crate::record::{MemberRole, Record, Versioned};
use crate::server::{Enforced, PrimaryFacts, Promise, ServerFacts};
use crate::timer::{Moment, Timer};
use crate::timers::DOUBLINGS_MAX;

/// How many signs of life of a leader can be under way when it resigns.
const BEATS_UNDER_WAY_MAX: u8 = 1;

impl Node {
    pub(crate) fn take(&mut self, input: Input, now: Moment) {
        match input {
            Input::Server(facts) => self.take_server(facts),
            Input::Record(record) => self.adopt(Arc::new(record)),
            Input::Lease(lease) => self.take_lease(lease),
            Input::Store(state) => self.take_store(state),
            Input::LeaderServer(answer) => {
                self.lanes.probing = false;
                self.leader_server = Some(answer);
                self.restart(&Timer::AskAgain);
            }
            Input::Message { from, message } => self.take_message(from, message),
            Input::Done { action, outcome } => match Kind::of_id(action) {
                Kind::Server => self.take_server_outcome(outcome, now),
                Kind::Swap => self.take_swap_outcome(outcome),
                Kind::Promise => self.take_promise_outcome(outcome),
                Kind::Renewal => self.take_renewal_outcome(outcome),
                Kind::Deadman => self.take_deadman_outcome(outcome),
                Kind::Told => {}
            },
            Input::Timer(timer) => self.fire(timer),
            Input::Command(command) => self.take_command(command),
        }
    }

    fn take_server(&mut self, mut facts: ServerFacts) {
        match &mut facts {
            ServerFacts::Primary(primary) => {
                primary
                    .followers
                    .sort_by(|one, other| one.name.cmp(&other.name));
                self.was_primary = true;
                self.rule_seen = Some(primary.position.rule);
                if !self
                    .tenure
                    .proven
                    .as_ref()
                    .is_some_and(|proven| primary.enforced.is(proven))
                {
                    self.tenure.proven = None;
                }
                if self.is_unpublished(&primary.enforced) {
                    // What is acknowledged meanwhile comes after the rule.
                    self.tenure.rule = None;
                }
                let own = self.own_resignation().is_some();
                if own {
                    self.resignation = None;
                }
            }
            ServerFacts::Standby(standby) => {
                self.was_primary = false;
                self.rule_seen = Some(standby.position.rule);
                self.tenure.proven = None;
            }
            ServerFacts::Stopped { was_primary, .. } => {
                self.was_primary = *was_primary;
                self.tenure.proven = None;
            }
            ServerFacts::Unusable => self.was_primary = false,
            ServerFacts::Starting | ServerFacts::Unresponsive => {}
        }
        if !matches!(facts, ServerFacts::Stopped { .. }) {
            self.stopped_here = false;
        }
        let former = self.server.replace(facts);
        if let (Some(ServerFacts::Primary(former)), None) = (former, self.primary()) {
            self.tenure.heir = self.heir_of(&former);
        }
    }

    /// The follower that was furthest when the server was last seen. Where none streamed in that
    /// moment, one that commits wait for and that has not been away for long: it may have connected
    /// anew meanwhile.
    fn heir_of(&self, facts: &PrimaryFacts) -> Option<NodeName> {
        let members = self.members()?;
        let may_lead = |name: &NodeName| {
            matches!(
                members.get(name),
                Some(MemberRole::Server { priority: 1.. })
            )
        };
        let streaming = facts
            .followers
            .iter()
            .filter(|follower| follower.streaming && may_lead(&follower.name))
            .max_by_key(|follower| follower.flush_lsn)
            .map(|follower| &follower.name);
        let expected = || {
            let policy = self.target(&self.record.as_deref()?.value)?;
            let mut standbys = policy.standbys.iter();
            standbys.find(|name| may_lead(name) && !self.away.contains(*name))
        };
        streaming.or_else(expected).cloned()
    }

    fn take_lease(&mut self, lease: Lease) {
        let news = match &self.lease {
            None => true,
            Some(known) => lease.epoch >= known.epoch && lease != *known,
        };
        if news {
            self.doubt_resignation(&lease);
            self.lease = Some(lease);
            self.leader_server = None;
            self.restart(&Timer::LeaseLapsed);
        }
    }

    /// A leader that gives signs of life after it has resigned was started in place.
    fn doubt_resignation(&mut self, lease: &Lease) {
        if let Some(resignation) = &mut self.resignation
            && resignation.leader != self.name
            && resignation.leader == lease.leader
            && resignation.epoch == lease.epoch
        {
            resignation.beats = resignation.beats.saturating_add(1);
            if resignation.beats > BEATS_UNDER_WAY_MAX {
                self.resignation = None;
            }
        }
    }

    fn take_store(&mut self, state: StoreState) {
        if state == StoreState::Reachable && self.store != StoreState::Reachable {
            // Beats of an asynchronous leader may have been missed, and its lease is more than a
            // suspicion.
            if !self.is_synchronous() {
                self.restart(&Timer::LeaseLapsed);
            }
            self.lanes.store.failed = None;
            // What a leader said while the record could not be changed may be over.
            if self.own_resignation().is_none() {
                self.resignation = None;
            }
        }
        if state != StoreState::Reachable {
            self.withdraw_wishes();
        }
        self.store = state;
    }

    /// An operator was told that the store does not take what is wanted, and it does not come true
    /// later. What the agent itself wants stays.
    fn withdraw_wishes(&mut self) {
        self.wishes.retain(|wish| !wish.is_an_operators());
    }

    fn take_message(&mut self, from: NodeName, message: Message) {
        match message {
            Message::Resigned {
                epoch,
                of,
                successor,
            } => {
                self.resignation = Some(Resignation {
                    epoch,
                    leader: from,
                    of,
                    successor,
                    beats: 0,
                });
                self.restart(&Timer::Campaign);
            }
            Message::Recruit { epoch } => self.take_recruit(from, epoch),
            Message::Recruited { epoch, wal } => {
                let counts = self
                    .members()
                    .is_some_and(|members| members.contains_key(&from));
                if self.election.epoch == epoch && counts {
                    let known = self.election.recruits.entry(from).or_insert(wal);
                    if known.position < wal.position {
                        *known = wal;
                    }
                }
            }
            Message::Refused { promised } => {
                self.election.refused = self.election.refused.max(promised);
            }
            Message::Fetch {
                epoch,
                from: holder,
                upto,
                unruled,
            } => {
                let coordinates = self.member_record().is_some_and(|record| {
                    record.epoch == epoch && record.coordinator == from && record.leader.is_none()
                });
                if coordinates {
                    self.fetch = Some(Fetch {
                        epoch,
                        from: holder,
                        upto,
                        unruled,
                    });
                }
            }
            Message::Recorded { record } => self.adopt(record),
        }
    }

    fn take_recruit(&mut self, from: NodeName, epoch: Epoch) {
        if epoch < self.promise.epoch {
            self.refuse = Some(from);
            return;
        }
        let over = self.record.as_deref().is_some_and(|record| {
            let record = &record.value;
            record.epoch > epoch
                || (record.epoch == epoch
                    && (record.leader.is_some() || record.coordinator != from))
        });
        let outdone = self
            .summons
            .as_ref()
            .is_some_and(|summons| summons.epoch > epoch);
        if over || outdone {
            return;
        }
        self.answered = None;
        self.restart(&Timer::ElectionStalled);
        self.summons = Some(Summons { epoch, by: from });
    }

    fn take_command(&mut self, command: Command) {
        if self.objection(&command).is_some() {
            return;
        }
        let epoch = self.record.as_deref().map(|record| record.value.epoch);
        match (command, epoch) {
            (Command::Switchover { to }, Some(epoch)) => {
                self.refused = None;
                self.restart(&Timer::HandoverStalled);
                self.handover = Some(Handover {
                    to,
                    epoch,
                    successor: None,
                    checkpointed: false,
                });
            }
            (Command::Failover { to, allow_loss }, Some(epoch)) => {
                self.refused = None;
                self.restart(&Timer::HandoverStalled);
                // An election that is under way takes the new bound.
                if self.coordinated_record().is_some() {
                    self.election.preferred = to;
                    self.election.allowed_loss = allow_loss;
                } else {
                    self.failover = Some(FailoverWish {
                        to,
                        allowed_loss: allow_loss,
                        epoch,
                    });
                }
            }
            (Command::AgentRestarts, Some(_)) => self.agent_restart = AgentRestart::Announced,
            (
                wish @ (Command::Pause
                | Command::Resume
                | Command::SetPolicy(_)
                | Command::Admit { .. }
                | Command::Forget { .. }),
                Some(_),
            ) => {
                if wish == Command::Resume {
                    self.rejoin = self.rejoin.anew();
                }
                if wish.is_an_operators() {
                    // Whoever waits for it is told soon whether the store takes it.
                    self.fire(Timer::RetryStore);
                }
                if self.wishes.len() < WISHES_MAX {
                    self.wishes.push_back(wish);
                }
            }
            (_, None) => {}
        }
    }

    fn take_server_outcome(&mut self, outcome: Outcome, now: Moment) {
        let Some(order) = self.lanes.server.order.take() else {
            return;
        };
        let how = match outcome {
            Outcome::Done | Outcome::RuleWritten { .. } => End::Succeeded,
            Outcome::Hindered => End::Hindered,
            Outcome::Failed | Outcome::Unknown | Outcome::Swapped { .. } | Outcome::Conflict(_) => {
                End::Failed
            }
        };
        let succeeded = how == End::Succeeded;
        match (&order, &outcome) {
            (Order::WriteRule(rule), Outcome::RuleWritten { lsn }) => {
                self.rule_seen = self.rule_seen.max(Some(rule.id));
                self.tenure.rule = Some((rule.clone(), *lsn));
            }
            (Order::Enforce(Enforced::Policy(policy)), Outcome::Done) => {
                self.tenure.proven = Some(policy.clone());
            }
            (Order::Enforce(_), _) => self.tenure.proven = None,
            (Order::Promote, Outcome::Done) => self.tenure.failures = 0,
            (Order::Promote, _) => self.tenure.failures += 1,
            (Order::Follow { leader }, Outcome::Done) => self.follows(Some(leader.clone())),
            (Order::StartStandby { follow }, Outcome::Done) => self.follows(follow.clone()),
            (Order::StopReceiving, _) => self.follows(None),
            (Order::Stop(_), Outcome::Done) => self.stopped_here = true,
            (Order::Checkpoint, Outcome::Done) => {
                if let Some(handover) = &mut self.handover {
                    handover.checkpointed = true;
                }
            }
            (Order::FetchWal { .. }, Outcome::Done) => {
                self.fetch = None;
                self.answered = None;
            }
            (Order::Rejoin { leader, rung, .. }, _) => {
                self.climbed(*rung, succeeded, now);
                if succeeded {
                    self.was_primary = false;
                    self.follows(Some(leader.clone()));
                }
            }
            _ => {}
        }
        self.lanes.server.end(order, how);
        self.restart(&Timer::Retry);
    }

    /// A try on the ladder of rejoining has ended. The pause after one that failed, or after which
    /// the server may still not start, grows with the number of tries, and with how long this one
    /// took: what costs the leader much is done seldom.
    fn climbed(&mut self, rung: Rung, succeeded: bool, now: Moment) {
        let ladder = &mut self.rejoin;
        match rung {
            Rung::Rewind => ladder.rewinds += 1,
            Rung::Clone => ladder.clones += 1,
        }
        ladder.cleansed |= succeeded;
        let doublings = ladder.tries().saturating_sub(1).min(DOUBLINGS_MAX);
        let took = now.0.saturating_sub(ladder.began.0);
        let pause = (self.limits.timings.retry + took).saturating_mul(2_u32.pow(doublings));
        let is_last = succeeded && ladder.tries() == 1;
        ladder.pause = (!is_last).then_some(pause);
        self.restart(&Timer::RejoinAgain);
    }

    fn follows(&mut self, leader: Option<NodeName>) {
        self.following = Following {
            leader: leader.map(|leader| (self.promise.epoch, leader)),
        };
    }

    fn take_swap_outcome(&mut self, outcome: Outcome) {
        let Some(order) = self.lanes.store.order.take() else {
            return;
        };
        let known = match outcome {
            Outcome::Swapped { record, lease } => {
                if let Some(lease) = lease {
                    self.take_lease(lease);
                }
                self.confirmed = Some(record.value.epoch);
                self.tenure.may_have_resigned = false;
                self.adopt_swapped(&order, Arc::new(record));
                self.tell_record = true;
                true
            }
            Outcome::Conflict(record) => {
                let is_news = !has_gone_back(&order, &record) && !self.is_outdated(&record.value);
                self.adopt(Arc::new(record));
                is_news
            }
            Outcome::Done
            | Outcome::Unknown
            | Outcome::Failed
            | Outcome::Hindered
            | Outcome::RuleWritten { .. } => false,
        };
        if !known {
            self.withdraw_wishes();
        }
        self.lanes.store.end(order, End::of(known));
        self.restart(&Timer::RetryStore);
    }

    fn take_promise_outcome(&mut self, outcome: Outcome) {
        let Some(order) = self.lanes.promise.order.take() else {
            return;
        };
        let durable = outcome == Outcome::Done;
        if let (Order::Promise(promise), true) = (&order, durable) {
            self.kept(*promise);
        }
        self.lanes.promise.end(order, End::of(durable));
        self.restart(&Timer::RetryPromise);
    }

    fn kept(&mut self, promise: Promise) {
        if promise.led.is_none() {
            self.rejoin.cleansed = false;
        }
        self.promise = promise;
    }

    fn take_renewal_outcome(&mut self, outcome: Outcome) {
        let Some(renewal) = self.lanes.renewal.take() else {
            return;
        };
        self.lanes.renewal_failed = false;
        self.lanes.renewal_refused = outcome == Outcome::Failed;
        match outcome {
            Outcome::Done | Outcome::Swapped { .. } => {
                self.confirmed = Some(renewal.epoch);
                self.lease_is_held = true;
                let margin = self.limits.timings.beat;
                let ends = renewal.ordered + renewal.holds_for.saturating_sub(margin);
                self.fired.remove(&Timer::LeaseEnds);
                self.armed.insert(Timer::LeaseEnds, ends);
            }
            Outcome::Conflict(record) => {
                let known = self.record.as_deref();
                self.lanes.renewal_failed =
                    known.is_some_and(|known| known.order() > record.order());
                self.adopt(Arc::new(record));
            }
            Outcome::Unknown
            | Outcome::Failed
            | Outcome::Hindered
            | Outcome::RuleWritten { .. } => {
                self.lanes.renewal_failed = true;
            }
        }
    }

    fn take_deadman_outcome(&mut self, outcome: Outcome) {
        if let Some(deadline) = self.lanes.deadman.take() {
            self.lanes.deadline = (outcome == Outcome::Done).then_some(deadline);
        }
    }
}

/// Whether the store answers a swap with a record from before the one that was to be swapped: the
/// same answer would come for ever.
fn has_gone_back(order: &Order, found: &Versioned<Record>) -> bool {
    matches!(
        order,
        Order::Swap { expected, record } if found.order() < (record.recoveries, *expected)
    )
}
