//! The loop: facts go into the core, and what it orders goes to whoever carries it out.

mod deed;
mod store_news;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use manada_core::action::{Action, ActionId, Order};
use manada_core::input::{Command, Input, StoreState};
use manada_core::lease::Lease;
use manada_core::node::Node as Core;
use manada_core::obstacle::{ForeignSetting, Obstacle};
use manada_core::position::{Epoch, RuleId};
use manada_core::record::Revision;
use manada_core::server::{Gate, ServerFacts};
use manada_core::standing::Standing;
use manada_core::timer::Moment;
use manada_herd::Member;
use manada_model::{NodeName, StartTrouble, SystemIdentifier};
use manada_store::{Contact, Watch};
use tokio::sync::{mpsc, watch};

use self::deed::{Deed, Teller};
use crate::clock;
use crate::glance::Glance;
use crate::journal::{Event, Journal, is_another_state};
use crate::loss::Lookout;
use crate::memory::Memory;
use crate::orders::{
    DeadmanOrders, Ended, Given, Pace, Probe, ProbeOrder, PromiseOrders, ServerOrders, StoreOrders,
    Told,
};
use crate::peers::{Book, Outbox, Received};
use crate::wording;

/// The longest time between two rounds: a timer is due by the clock that counts the machine's
/// sleep, while waiting goes by one that does not.
const ROUND_MAX: Duration = Duration::from_millis(500);

/// How long a server may start before that is said.
const STARTS_SAID_AFTER: Duration = Duration::from_secs(10);

/// Everything that the loop hears.
pub(crate) struct Ears {
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) received: mpsc::Receiver<Received>,
    pub(crate) store: Watch,
    pub(crate) members: watch::Receiver<Vec<Member>>,
    pub(crate) foreign: watch::Receiver<Option<ForeignSetting>>,
    pub(crate) wishes: mpsc::Receiver<Wish>,
}

/// Everyone that the loop gives orders to.
pub(crate) struct Hands {
    pub(crate) server: ServerOrders,
    pub(crate) store: StoreOrders,
    pub(crate) promises: PromiseOrders,
    pub(crate) deadman: DeadmanOrders,
    pub(crate) probe: Probe,
    pub(crate) outbox: Outbox,
    pub(crate) journal: Journal,
}

/// What the loop tells of itself.
pub(crate) struct Voices {
    pub(crate) glance: watch::Sender<Arc<Glance>>,
    pub(crate) book: watch::Sender<Book>,
    pub(crate) pace: watch::Sender<Pace>,
    pub(crate) known_rule: watch::Sender<RuleId>,
    /// Set when this node's entry in the book is not what it should be.
    pub(crate) register: watch::Sender<Contact>,
    /// What is to be remembered, should the store lose it.
    pub(crate) memory: watch::Sender<Option<Memory>>,
}

/// What whoever runs the agent wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That it ends, and its server goes on.
    End,
    /// That it belongs to the herd as this from now on.
    Be(Contact),
}

/// One node's agent.
pub(crate) struct Daemon {
    core: Core,
    own: Contact,
    hands: Hands,
    voices: Voices,
    members: Vec<Member>,
    book: Book,
    given: BTreeMap<ActionId, Deed>,
    teller: Teller,
    beat: u64,
    store: StoreState,
    lookout: Lookout,
    /// The order of the record that was told to be remembered.
    noted: Option<(u32, Revision)>,
    /// What the store refused with when it was asked last, or why a sign of life did not get there.
    store_said: Option<String>,
    server: Option<(ServerFacts, Moment)>,
    starts_since: Option<Moment>,
    /// Why the server did not start, if that was what was tried last.
    trouble: Option<StartTrouble>,
    /// Who else sets what commits wait for, as it was said last.
    foreign: Option<Obstacle>,
    lease: Option<(Lease, Moment)>,
    /// When the leader's server is asked, if no sign of life comes until then.
    probe_due: Option<Moment>,
    led: Option<Epoch>,
    reigns_begun: u64,
    ending: bool,
}

impl Daemon {
    pub(crate) fn new(
        core: Core,
        own: Contact,
        hands: Hands,
        voices: Voices,
        lookout: Lookout,
    ) -> Daemon {
        Daemon {
            core,
            own,
            hands,
            voices,
            members: Vec::new(),
            book: Book::new(),
            given: BTreeMap::new(),
            teller: Teller::default(),
            // A later run of this agent goes on with a higher number than the former one had.
            beat: u64::try_from(clock::now().0.as_millis()).unwrap_or_default(),
            store: StoreState::Unreachable,
            lookout,
            noted: None,
            store_said: None,
            server: None,
            starts_since: None,
            trouble: None,
            foreign: None,
            lease: None,
            probe_due: None,
            led: None,
            reigns_begun: 0,
            ending: false,
        }
    }

    /// Goes on until it is told to end.
    pub(crate) async fn run(mut self, mut ears: Ears) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.note(Event::Started { version });
        self.members = ears.members.borrow_and_update().clone();
        loop {
            self.give_orders();
            self.see_foreign(ears.foreign.borrow().clone());
            self.publish();
            if self.ending && !self.given.contains_key(&RENEWAL) {
                break;
            }
            let round = self.until_next_round();
            tokio::select! {
                biased;
                Some(wish) = ears.wishes.recv() => self.grant(wish),
                Some(told) = ears.told.recv() => self.take_told(told),
                Some(received) = ears.received.recv() => self.take_received(received),
                Some(change) = ears.store.next() => self.take_change(change),
                Ok(()) = ears.members.changed() => {
                    self.members = ears.members.borrow_and_update().clone();
                    self.admit_members();
                }
                () = tokio::time::sleep(round) => {}
            }
            self.look_for_loss();
            self.probe_ahead();
            self.fire_timers();
        }
        self.note(Event::Ended);
    }

    /// Until a timer is due, or the round is over.
    fn until_next_round(&self) -> Duration {
        let timer = self.core.poll_timeout().map(|(due, _)| due);
        let due = timer.into_iter().chain(self.probe_due).min();
        due.map_or(ROUND_MAX, clock::until).min(ROUND_MAX)
    }

    /// Begins to ask the leader's server shortly before its lease lapses, so that the core has the
    /// answer as soon as it wants it.
    fn probe_ahead(&mut self) {
        if self.probe_due.is_none_or(|due| due > clock::now()) {
            return;
        }
        self.probe_due = None;
        let Some(record) = self.core.record() else {
            return;
        };
        let leader = record.value.leader.clone();
        let Some(leader) = leader.filter(|leader| *leader != self.own.name) else {
            return;
        };
        let epoch = record.value.epoch;
        self.hands.probe.begin(ProbeOrder { leader, epoch });
    }

    fn fire_timers(&mut self) {
        let now = clock::now();
        while let Some((due, timer)) = self.core.poll_timeout()
            && due <= now
        {
            self.core.handle(Input::Timer(timer), now);
        }
    }

    fn hear(&mut self, input: Input) {
        self.core.handle(input, clock::now());
    }

    fn take_told(&mut self, told: Told) {
        match told {
            Told::Server(facts) => self.take_facts(*facts),
            Told::LeaderServer(answer) => self.hear(Input::LeaderServer(answer)),
            Told::Done { ended, facts } => {
                if let Some(facts) = facts {
                    self.take_facts(*facts);
                }
                self.take_ended(*ended);
            }
        }
    }

    fn take_facts(&mut self, facts: ServerFacts) {
        let before = self.server.as_ref().map(|(facts, _)| facts);
        if before.is_none_or(|before| is_another_state(before, &facts)) {
            let facts = Box::new(facts.clone());
            self.note(Event::Server { facts });
        }
        let starts = matches!(facts, ServerFacts::Starting);
        self.starts_since = starts.then(|| self.starts_since.unwrap_or_else(clock::now));
        self.server = Some((facts.clone(), clock::now()));
        self.hear(Input::Server(facts));
    }

    /// Says once that somebody else has begun to set what commits wait for, or has ended that.
    fn see_foreign(&mut self, setting: Option<ForeignSetting>) {
        let is_primary = match &self.server {
            Some((ServerFacts::Primary(_), _)) => true,
            Some((ServerFacts::Standby(_), _)) => false,
            // What it is counts when it answers.
            Some(_) | None => return,
        };
        let foreign = setting.clone().map(|setting| Obstacle::ForeignSetting {
            setting,
            is_primary,
        });
        if foreign == self.foreign {
            return;
        }
        match &foreign {
            Some(foreign) => tracing::warn!("{}", wording::obstacle(foreign)),
            None => tracing::info!("nobody else sets what commits wait for any more"),
        }
        self.foreign = foreign;
        self.note(Event::Foreign { setting });
    }

    fn take_ended(&mut self, ended: Ended) {
        let Ended {
            action,
            outcome,
            error,
            trouble,
        } = ended;
        if action == SERVER {
            self.trouble = trouble;
        }
        let deed = self.given.remove(&action);
        let took = deed.as_ref().map(|deed| clock::since(deed.given_at));
        if let Some(deed) = deed {
            self.teller.tell(deed, &outcome, error.as_deref());
        }
        if action == RENEWAL && self.store == StoreState::Reachable {
            self.store_said.clone_from(&error);
        }
        // A sign of life that was given is the rule, three times a second; so is one that was not,
        // where the store has lost the record.
        let is_rule = error.is_none() || self.store == StoreState::RecordLost;
        if action != RENEWAL || !is_rule {
            self.note(Event::Done {
                action,
                outcome: Box::new(outcome.clone()),
                took_ms: u64::try_from(took.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
                error,
            });
        }
        self.hear(Input::Done { action, outcome });
        self.voices
            .known_rule
            .send_replace(self.core.promise().rule);
    }

    fn take_received(&mut self, received: Received) {
        match received {
            Received::Message { from, message } => {
                if self.is_member(&from) {
                    self.hear(Input::Message { from, message });
                } else {
                    tracing::debug!(%from, "a message of a node that is no member");
                }
            }
            Received::Command {
                from,
                command,
                answer,
            } => {
                let objection = if self.is_member(&from) {
                    self.objection_to(&command)
                } else {
                    Some(Obstacle::NotAMember)
                };
                let wanted = wording::command(&command);
                match &objection {
                    None => tracing::info!("an operator on {from} wants this node to {wanted}"),
                    Some(objection) => {
                        let objection = wording::obstacle(objection);
                        tracing::info!(
                            "an operator on {from} wants this node to {wanted}, which it does not: \
                             {objection}"
                        );
                    }
                }
                self.note(Event::Commanded {
                    from,
                    command: command.clone(),
                    refused: objection.clone(),
                });
                let is_taken = objection.is_none();
                // Whoever asked may have gone, with the word that nothing was changed.
                if answer.send(objection).is_ok() && is_taken {
                    self.hear(Input::Command(command));
                }
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::End => {
                self.ending = true;
                self.hear(Input::Command(Command::AgentRestarts));
            }
            Wish::Be(contact) => {
                self.own = contact;
                self.share_book();
            }
        }
    }

    fn is_member(&self, name: &NodeName) -> bool {
        let record = self.core.record();
        record.is_none_or(|record| record.value.members.contains_key(name))
    }

    /// The leader takes in whoever is in the book and in the herd's table, and lets go whoever is
    /// not in the table any more.
    fn admit_members(&mut self) {
        if !matches!(self.core.standing(), Standing::Leading { .. }) || self.members.is_empty() {
            return;
        }
        let Some(record) = self.core.record() else {
            return;
        };
        let recorded = record.value.members.clone();
        let of_table = |name: &NodeName| self.members.iter().any(|member| member.name == *name);
        let mut commands = Vec::new();
        for (name, contact) in &self.book {
            let welcome = of_table(name) && is_of(contact, self.own.system_identifier);
            if welcome && recorded.get(name) != Some(&contact.role) {
                commands.push(Command::Admit {
                    name: name.clone(),
                    role: contact.role,
                });
            }
        }
        for name in recorded.keys() {
            if !of_table(name) && *name != self.own.name {
                commands.push(Command::Forget { name: name.clone() });
            }
        }
        for command in commands {
            self.hear(Input::Command(command));
        }
    }

    /// Gives out what the core has decided.
    fn give_orders(&mut self) {
        while let Some(action) = self.core.poll_action() {
            let told_as = self.note_order(&action);
            self.give(action, told_as);
        }
        self.voices.pace.send_if_modified(|pace| {
            let now = pace_of(&self.core, self.server.as_ref().map(|(facts, _)| facts));
            std::mem::replace(pace, now) != now
        });
    }

    /// Writes an order down. What it is, and why, is said in the log when it has ended.
    fn note_order(&mut self, action: &Action) -> Option<(String, String)> {
        let Action { id, order, reason } = action;
        if matches!(order, Order::RenewLease { .. }) {
            return None;
        }
        tracing::debug!(?order, ?reason, "ordered");
        self.note(Event::Ordered {
            action: *id,
            order: Box::new(order.clone()),
            reason: reason.clone(),
        });
        let record = self.core.record().map(|record| &record.value);
        let did = wording::order(order, record)?;
        Some((did, wording::reason(reason)))
    }

    fn give(&mut self, action: Action, told_as: Option<(String, String)>) {
        let Action { id, order, .. } = action;
        let is_routine = wording::is_routine(&order);
        let is_waited_for = match order {
            Order::Send { to, message } => {
                if to == self.own.name {
                    self.hear(Input::Message { from: to, message });
                } else {
                    self.hands.outbox.send(&to, message);
                }
                return;
            }
            Order::ProbeLeader { leader } => {
                let epoch = self.core.record().map(|record| record.value.epoch);
                let epoch = epoch.unwrap_or_default();
                self.hands.probe.give(ProbeOrder { leader, epoch });
                return;
            }
            Order::Swap { expected, record } => {
                self.hands.store.swap(id, expected, record);
                true
            }
            Order::RenewLease {
                expected,
                holds_for,
                flush_lsn,
            } => {
                let lease = self.next_lease(holds_for, flush_lsn);
                self.hands.store.renew(id, expected, lease);
                true
            }
            Order::Promise(promise) => self.hands.promises.give(id, promise),
            Order::Deadman { deadline } => self.hands.deadman.give(id, deadline),
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
            | Order::FetchWal { .. } => {
                let given = Given { action: id, order };
                self.hands.server.give(given).is_ok()
            }
        };
        let given_at = clock::now();
        let deed = Deed {
            given_at,
            told_as,
            is_routine,
        };
        self.given.insert(id, deed);
        if !is_waited_for {
            self.take_ended(Ended::failed(id, "too many orders wait"));
        }
    }

    fn next_lease(&mut self, holds_for: Duration, flush_lsn: manada_model::Lsn) -> Lease {
        self.beat += 1;
        let record = self.core.record();
        Lease {
            epoch: record.map(|record| record.value.epoch).unwrap_or_default(),
            leader: self.own.name.clone(),
            beat: self.beat,
            holds_for,
            flush_lsn,
        }
    }

    fn note(&mut self, event: Event) {
        let epoch = self.core.record().map(|record| record.value.epoch);
        self.hands.journal.note(epoch, event);
    }

    /// With what the server itself has said, where it does not start.
    fn in_the_servers_words(&self, obstacle: Obstacle) -> Obstacle {
        match obstacle {
            Obstacle::StartFails { failures, .. } => Obstacle::StartFails {
                failures,
                trouble: self.trouble.clone(),
            },
            obstacle => obstacle,
        }
    }

    fn publish(&mut self) {
        let standing = self.core.standing();
        if let Standing::Leading { epoch, .. } = &standing
            && self.led != Some(*epoch)
        {
            self.led = Some(*epoch);
            self.reigns_begun += 1;
            self.admit_members();
        }
        let mut obstacles = Vec::from_iter(self.foreign.clone());
        let took = self.starts_since.map(clock::since);
        let took = took.filter(|took| *took >= STARTS_SAID_AFTER);
        obstacles.extend(took.map(|took| Obstacle::ServerStarts { took }));
        let of_core = self.core.obstacles();
        let in_words = |one| self.in_the_servers_words(self.in_the_stores_words(one));
        obstacles.extend(of_core.into_iter().map(in_words));
        self.remember();
        let remembered = self.lookout.remembered(&self.core);
        self.voices.glance.send_replace(Arc::new(Glance {
            at: clock::now(),
            standing,
            obstacles,
            record: self.core.record().cloned(),
            server: self.server.clone(),
            lease: self.lease.clone(),
            store: self.store,
            lost: match self.store {
                StoreState::RecordLost => self.lookout.loss(),
                StoreState::Reachable | StoreState::Unreachable => None,
            },
            promised: Some(self.core.promise().epoch),
            confirmed: self.core.confirmed(),
            remembered: remembered.map(|memory| memory.record.clone()),
            reigns_begun: self.reigns_begun,
        }));
    }
}

/// The numbers that the core gives to orders about the server and to a sign of life.
const SERVER: ActionId = ActionId(1);
const RENEWAL: ActionId = ActionId(4);

fn is_of(contact: &Contact, system_identifier: SystemIdentifier) -> bool {
    contact.system_identifier == system_identifier
}

/// How often the server must be looked at: often where the next decision waits for what it shows.
fn pace_of(core: &Core, facts: Option<&ServerFacts>) -> Pace {
    match core.standing() {
        Standing::Leading { gate, changing, .. } => {
            let open = matches!(facts, Some(ServerFacts::Primary(primary)) if primary.gate == gate);
            if gate == Gate::Open && open && !changing {
                Pace::Leading
            } else {
                Pace::Eager
            }
        }
        Standing::Recruited { .. }
        | Standing::Electing { .. }
        | Standing::Promoting { .. }
        | Standing::Reopening { .. }
        | Standing::HandingOver { .. }
        | Standing::Resigned { .. }
        | Standing::SteppingDown { .. } => Pace::Eager,
        Standing::NoRecord
        | Standing::Outsider
        | Standing::Following { .. }
        | Standing::Rejoining { .. }
        | Standing::Stuck { .. } => Pace::Following,
    }
}
