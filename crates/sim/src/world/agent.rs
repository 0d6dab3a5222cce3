//! The daemon on a host: feeds the core, and carries out what it orders.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use manada_core::action::{Action, ActionId, Order};
use manada_core::input::{Command, Input, LeaderServer, Outcome};
use manada_core::lease::Lease;
use manada_core::loss::LossBound;
use manada_core::message::Message;
use manada_core::node::Node;
use manada_core::reason::Reason;
use manada_core::record::{Record, Revision, Versioned};
use manada_core::server::{Promise, ServerFacts};
use manada_core::timer::{Moment, Timer};

use super::store::Swap;
use super::{HostId, StoreFault, Violation, World};
use crate::shared::Shared;

/// What the daemon keeps in memory.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The shipped core.
    pub core: Node,
    /// Orders about the server, in their order.
    pub server: VecDeque<Action>,
    /// Swaps of the record.
    pub store: VecDeque<Action>,
    /// Signs of life.
    pub renewals: VecDeque<Action>,
    /// Promises to be made durable.
    pub promise: VecDeque<Action>,
    /// Whose server the core wants to be asked.
    pub probes: Option<HostId>,
    /// The first of `server` has begun, and is not yet in force.
    pub begun: bool,
    /// What the last look at the server has shown.
    pub seen: Option<ServerFacts>,
}

/// How an order ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Execution {
    /// Well, if it can.
    Succeeds,
    /// It fails before it has done anything, or in the middle for what takes time.
    Fails,
}

impl Hash for Agent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.core.hash(state);
        for queue in [&self.server, &self.store, &self.renewals, &self.promise] {
            // Neither an action's number nor its reason says anything about what will happen.
            queue.len().hash(state);
            for action in queue {
                action.order.hash(state);
            }
        }
        self.probes.hash(state);
        self.begun.hash(state);
    }
}

impl PartialEq for Agent {
    fn eq(&self, other: &Agent) -> bool {
        super::digest(self) == super::digest(other)
    }
}

impl Eq for Agent {}

impl World {
    /// The daemon starts: it reads its promise and looks at the server.
    pub fn start_agent(&mut self, host: HostId, now: Moment) {
        let promise = self.host(host).promise;
        let name = self.herd.name(host).clone();
        let mut core = Node::new(name, promise, self.herd.limits.clone());
        if let Some(guard) = self.herd.left_out {
            core = core.without(guard);
        }
        self.host_mut(host).agent = Some(Shared::new(Agent {
            core,
            server: VecDeque::new(),
            store: VecDeque::new(),
            renewals: VecDeque::new(),
            promise: VecDeque::new(),
            probes: None,
            begun: false,
            seen: None,
        }));
        self.look(host, now);
    }

    /// The daemon ends. The server goes on.
    pub fn end_agent(&mut self, host: HostId) {
        self.host_mut(host).agent = None;
    }

    /// The agent, where it runs.
    pub fn agent(&self, host: HostId) -> Option<&Agent> {
        self.host(host).agent.as_deref()
    }

    /// Its core is given something; what it orders is put where it is carried out from.
    pub fn feed(&mut self, host: HostId, input: Input, now: Moment) {
        let herd = self.herd.clone();
        self.note_allowance(host, &input);
        let Some(agent) = &mut self.host_mut(host).agent else {
            return;
        };
        let agent = agent.make_mut();
        agent.core.handle(input, now);
        let mut letters = Vec::new();
        let mut deadman = None;
        let mut promotes = false;
        let mut follows = None;
        while let Some(action) = agent.core.poll_action() {
            match &action.order {
                Order::Send { to, message } => letters.push((to.clone(), message.clone())),
                Order::ProbeLeader { leader } => agent.probes = Some(herd.host(leader)),
                Order::Promise(_) => agent.promise.push_back(action),
                Order::Promote => {
                    promotes = true;
                    agent.server.push_back(action);
                }
                Order::Follow { leader }
                | Order::StartStandby {
                    follow: Some(leader),
                } => {
                    follows = Some(herd.host(leader));
                    agent.server.push_back(action);
                }
                Order::Swap { .. } => agent.store.push_back(action),
                Order::RenewLease { .. } => agent.renewals.push_back(action),
                Order::Deadman { deadline } => deadman = Some((action.id, *deadline)),
                Order::StartStandby { follow: None }
                | Order::StartPrimary
                | Order::Checkpoint
                | Order::Stop(_)
                | Order::StopReceiving
                | Order::WriteRule(_)
                | Order::Enforce(_)
                | Order::SetGate(_)
                | Order::Rejoin { .. }
                | Order::FetchWal { .. } => agent.server.push_back(action),
            }
        }
        if promotes && self.ledger.last_reign_of(host) != self.host(host).promise.led {
            self.ledger
                .make_mut()
                .violated(Violation::BrokenPromise(host));
        }
        if let Some(leader) = follows {
            self.check_following(host, leader);
        }
        for (to, message) in letters {
            self.post(host, herd.host(&to), message);
        }
        if let Some((id, deadline)) = deadman {
            self.host_mut(host).deadman = deadline;
            self.done(host, id, Outcome::Done, now);
        }
    }

    /// What an operator allows to be lost, from when an agent knows of it.
    fn note_allowance(&mut self, host: HostId, input: &Input) {
        if let Input::Command(Command::Failover {
            allow_loss: Some(bound),
            ..
        }) = input
            && self.agent(host).is_some()
        {
            let allowed = &mut self.ledger.make_mut().allowed_loss;
            *allowed = match (*allowed, *bound) {
                (Some(LossBound::Bytes(known)), LossBound::Bytes(bytes)) => {
                    Some(LossBound::Bytes(known.max(bytes)))
                }
                (Some(LossBound::Any), _) => Some(LossBound::Any),
                (Some(LossBound::Bytes(_)) | None, bound) => Some(bound),
            };
        }
    }

    /// The daemon looks at its server.
    pub fn look(&mut self, host: HostId, now: Moment) {
        let facts = self.facts(host);
        if let Some(agent) = &mut self.host_mut(host).agent {
            agent.make_mut().seen = Some(facts.clone());
        }
        self.feed(host, Input::Server(facts), now);
    }

    /// Whether a look at the server would show anything new.
    pub fn has_news(&self, host: HostId) -> bool {
        self.agent(host)
            .is_some_and(|agent| agent.seen.as_ref() != Some(&self.facts(host)))
    }

    /// The daemon reads the store: the record, and the lease if there is one.
    pub fn read_store(&mut self, host: HostId, now: Moment) {
        let known = self.agent(host).and_then(|agent| agent.core.record());
        // An older record, or the same, changes nothing.
        let news =
            |found: &&Versioned<Record>| known.is_none_or(|known| known.order() < found.order());
        let record = self.store.found().filter(news).cloned();
        let lease = self.store.lease.clone();
        if let Some(record) = record {
            self.feed(host, Input::Record(record), now);
        }
        if let Some(lease) = lease {
            self.feed(host, Input::Lease(lease), now);
        }
    }

    /// Whether the store has a record that the daemon does not know.
    pub fn record_is_news(&self, host: HostId) -> bool {
        let known = self.known_revision(host);
        known.is_some_and(|known| known < Some(self.store.record.revision))
    }

    /// Which of the records that were in the store before are newer than what the daemon knows.
    pub fn stale_news(&self, host: HostId) -> impl Iterator<Item = Revision> {
        let known = self.known_revision(host);
        let former = self.store.former.iter().map(|former| former.revision);
        former.filter(move |former| known.is_some_and(|known| known < Some(*former)))
    }

    /// Whether the store has a lease of a reign that has begun, which a daemon that knows the record
    /// has not seen.
    pub fn lease_is_news(&self, host: HostId) -> bool {
        let lease =
            self.store.lease.as_ref().filter(|lease| {
                lease.flush_lsn.is_valid() && lease.leader != *self.herd.name(host)
            });
        let known = self.agent(host).and_then(|agent| agent.core.lease());
        lease.is_some()
            && lease != known
            && self.known_revision(host) == Some(Some(self.store.record.revision))
    }

    /// Whether a leader's last sign of life was before its reign began.
    pub fn lease_is_short_of_reign(&self, host: HostId) -> bool {
        let epoch = self.store.record.value.epoch;
        let silent = self.store.lease.as_ref().is_some_and(|lease| {
            lease.epoch == epoch
                && lease.leader == *self.herd.name(host)
                && !lease.flush_lsn.is_valid()
        });
        let server = self.server(host);
        let looked = !self.has_news(host);
        let beats = |agent: &Agent| agent.core.timers().contains_key(&Timer::Beat);
        silent
            && server.primary().is_some()
            && server.wal.rule().epoch == epoch
            && self.known_revision(host) == Some(Some(self.store.record.revision))
            && looked
            && self.agent(host).is_some_and(beats)
    }

    /// The revision that a daemon knows, if it runs.
    fn known_revision(&self, host: HostId) -> Option<Option<Revision>> {
        let agent = self.agent(host)?;
        Some(agent.core.record().map(|record| record.revision))
    }

    /// The daemon reads the store, and is given what was there before.
    pub fn read_store_stale(&mut self, host: HostId, stale: Revision, now: Moment) {
        let mut former = self.store.former.iter();
        if let Some(stale) = former.find(|former| former.revision == stale) {
            self.feed(host, Input::Record(stale.clone()), now);
        }
    }

    /// A letter arrives.
    pub fn deliver(&mut self, from: HostId, to: HostId, message: &Message, now: Moment) {
        let input = Input::Message {
            from: self.herd.name(from).clone(),
            message: message.clone(),
        };
        self.feed(to, input, now);
    }

    /// The leader's server was asked, with or without an answer.
    pub fn probed(&mut self, host: HostId, answer: LeaderServer, now: Moment) {
        if let Some(agent) = &mut self.host_mut(host).agent {
            agent.make_mut().probes = None;
            self.feed(host, Input::LeaderServer(answer), now);
        }
    }

    /// The first of the promises becomes durable.
    pub fn sync_promise(&mut self, host: HostId, now: Moment) {
        let Some(action) = self.take(host, |agent| &mut agent.promise) else {
            return;
        };
        let Order::Promise(promise) = action.order else {
            return;
        };
        let former = self.host(host).promise;
        if promise.epoch < former.epoch {
            self.ledger
                .make_mut()
                .violated(Violation::BrokenPromise(host));
        }
        self.host_mut(host).promise = promise;
        self.done(host, action.id, Outcome::Done, now);
    }

    /// The first of the promises can't be made durable.
    pub fn fail_sync(&mut self, host: HostId, now: Moment) {
        if let Some(action) = self.take(host, |agent| &mut agent.promise) {
            self.done(host, action.id, Outcome::Failed, now);
        }
    }

    /// Whether the first of the swaps has a leader who may lack what was acknowledged.
    pub fn accepts_loss(&self, host: HostId) -> bool {
        let first = self.agent(host).and_then(|agent| agent.store.front());
        first.is_some_and(|action| matches!(action.reason, Reason::LossAccepted { .. }))
    }

    /// The first of the swaps is carried out.
    pub fn carry_to_store(&mut self, host: HostId, fault: StoreFault, now: Moment) {
        let accepts_loss = self.accepts_loss(host);
        let Some(action) = self.take(host, |agent| &mut agent.store) else {
            return;
        };
        if let Order::Swap { expected, record } = action.order {
            let swap = Swap {
                expected,
                record: *record,
                accepts_loss,
            };
            let outcome = self.swap(swap, fault);
            self.done(host, action.id, outcome, now);
        }
    }

    /// The first of the signs of life is given, or does not get through.
    pub fn renew(&mut self, host: HostId, fault: StoreFault, now: Moment) {
        let Some(action) = self.take(host, |agent| &mut agent.renewals) else {
            return;
        };
        let Order::RenewLease {
            expected,
            holds_for,
            flush_lsn,
        } = action.order
        else {
            return;
        };
        let lease = Lease {
            epoch: self.store.record.value.epoch,
            leader: self.herd.name(host).clone(),
            beat: 0,
            holds_for,
            flush_lsn,
        };
        let arrives = matches!(fault, StoreFault::None | StoreFault::AnswerLost);
        let renewed = arrives && self.store.make_mut().renew(expected, lease);
        let outcome = match fault {
            StoreFault::None if renewed => Outcome::Done,
            StoreFault::None => self.refusal(),
            StoreFault::AnswerLost | StoreFault::RequestLate | StoreFault::RequestLost => {
                Outcome::Unknown
            }
        };
        self.done(host, action.id, outcome, now);
    }

    /// A swap of which nobody knew any more arrives at the store.
    pub fn late_swap(&mut self) {
        if self.store.late.is_empty() {
            return;
        }
        let swap = self.store.make_mut().late.remove(0);
        self.swap_in(swap);
    }

    /// The outcome of an action is told.
    pub(super) fn done(&mut self, host: HostId, action: ActionId, outcome: Outcome, now: Moment) {
        self.feed(host, Input::Done { action, outcome }, now);
    }

    /// The first order of one kind.
    pub(super) fn take(
        &mut self,
        host: HostId,
        queue: impl FnOnce(&mut Agent) -> &mut VecDeque<Action>,
    ) -> Option<Action> {
        let agent = self.host_mut(host).agent.as_mut()?;
        queue(agent.make_mut()).pop_front()
    }

    fn swap(&mut self, swap: Swap, fault: StoreFault) -> Outcome {
        match fault {
            StoreFault::None => {
                let swapped = self.swap_in(swap);
                let record = self.store.record.clone();
                if swapped {
                    let lease = self.store.lease.clone();
                    Outcome::Swapped { record, lease }
                } else {
                    self.refusal()
                }
            }
            StoreFault::AnswerLost => {
                self.swap_in(swap);
                Outcome::Unknown
            }
            StoreFault::RequestLate => {
                self.store.make_mut().late.push(swap);
                Outcome::Unknown
            }
            StoreFault::RequestLost => Outcome::Unknown,
        }
    }

    /// What a request is told that has come too late.
    fn refusal(&self) -> Outcome {
        match self.store.found() {
            Some(found) => Outcome::Conflict(found.clone()),
            None => Outcome::Failed,
        }
    }

    fn swap_in(&mut self, swap: Swap) -> bool {
        let leader = swap.record.leader.as_ref().map(|name| self.herd.host(name));
        let epoch = swap.record.epoch;
        let accepts_loss = swap.accepts_loss;
        let former = self.store.found().unwrap_or(&self.store.record).clone();
        let swapped = self.store.make_mut().swap(swap.expected, swap.record);
        if let (true, Some(leader)) = (swapped, leader) {
            let ledger = self.ledger.make_mut();
            if *ledger.leaders.entry(epoch).or_insert(leader) != leader {
                ledger.violated(Violation::TwoLeaders(epoch));
            }
            self.check_swap(&former.value, leader, accepts_loss);
        }
        swapped
    }

    fn post(&mut self, from: HostId, to: HostId, message: Message) {
        if let Message::Recruited { epoch, .. } = &message {
            self.check_answer(from, *epoch);
        }
        let letter = (from, to, Shared::new(message));
        // Whether an equal one is under way twice makes no difference to who must endure both.
        if !self.mail.contains(&letter) {
            self.mail.push(letter);
        }
    }
}

impl World {
    /// What a promise would be for a node that has led since the herd began.
    pub(super) fn founders_promise(leads: bool) -> Promise {
        Promise {
            epoch: manada_core::position::Epoch(1),
            led: leads.then_some(manada_core::position::Epoch(1)),
            followed: None,
            rule: manada_core::position::RuleId::default(),
        }
    }
}
