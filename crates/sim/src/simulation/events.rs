//! What happens when: events in simulated time around the world.

use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use manada_core::input::{Input, LeaderServer, StoreState};
use manada_core::record::Revision;
use manada_core::timer::Moment;

use super::dice::Dice;
use super::happening::{Counts, Happening};
use super::machine::{Busy, Machine};
use super::queue::{Due, Event};
use crate::world::{Execution, HostId, StoreFault, World};

/// How often an agent looks at its server although nothing tells it that there is news.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A herd in simulated time.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Everything.
    pub world: World,
    /// The time.
    pub now: Duration,
    /// How many events there were.
    pub events: u64,
    /// How many requests reached the store.
    pub store_requests: u64,
    /// Time that was lived through without being simulated.
    pub skipped: Duration,
    pub(super) machines: Vec<Machine>,
    pub(super) dice: Dice,
    pub(super) store_lost: bool,
    pub(super) store_doubtful: bool,
    pub(super) store_stale: bool,
    /// Servers' processes take long to read settings before.
    pub(super) reloads_slow_until: Duration,
    /// Clients cancel their waits before.
    pub(super) cancels_until: Duration,
    /// Walsenders, and the checkpointer as its own server's, that will read the settings.
    pub(super) reloading: BTreeSet<(HostId, HostId)>,
    /// What has happened.
    pub counts: Counts,
    /// The longest pause between two writes of clients, in milliseconds.
    pub write_pause: u64,
    /// What happened, if somebody wants to know.
    pub journal: Option<Vec<String>>,
    /// Nothing is left to chance, and no client writes.
    pub(super) calm: bool,
    /// When the next client writes.
    pub(super) writes_at: Option<Duration>,
    /// The servers as they were when it was last asked who has to look.
    pub(super) known: Vec<u64>,
    pub(super) queue: BinaryHeap<Due>,
    pub(super) revision: Revision,
    sequence: u64,
}

/// Who is next. What recurs has a place of its own beside the queue, since it is put off or brought
/// forward all the time.
enum Turn {
    Event,
    Wake(HostId),
    Look(HostId),
    Client,
}

impl Simulation {
    /// A herd that is whole.
    pub fn new(world: World, seed: u64) -> Simulation {
        let hosts = world.herd.hosts().count();
        let mut simulation = Simulation {
            now: Duration::from_secs(1),
            events: 0,
            store_requests: 0,
            skipped: Duration::ZERO,
            machines: vec![Machine::default(); hosts],
            dice: Dice::new(seed),
            store_lost: false,
            store_doubtful: false,
            store_stale: false,
            reloads_slow_until: Duration::ZERO,
            cancels_until: Duration::ZERO,
            reloading: BTreeSet::new(),
            counts: Counts::default(),
            write_pause: 500,
            journal: None,
            calm: false,
            writes_at: Some(Duration::from_secs(1)),
            known: vec![0; hosts],
            queue: BinaryHeap::new(),
            revision: world.store.record.revision,
            sequence: 0,
            world,
        };
        for host in simulation.world.herd.hosts() {
            simulation.look_soon(host);
            simulation.follow_up(host);
        }
        simulation
    }

    /// The time as the cores have it.
    pub fn moment(&self) -> Moment {
        Moment(self.now)
    }

    /// Lets the time pass until then.
    pub fn run_until(&mut self, end: Duration) {
        while self.world.ledger.violation.is_none()
            && let Some(turn) = self.next(end)
        {
            match turn {
                Turn::Event => {
                    if let Some(next) = self.queue.pop() {
                        self.happen(next.event);
                    }
                }
                Turn::Wake(host) => self.wake(host),
                Turn::Look(host) => self.look(host),
                Turn::Client => self.client(),
            }
        }
        self.now = self.now.max(end);
    }

    /// Whose turn is next, if it comes until then.
    fn next(&mut self, end: Duration) -> Option<Turn> {
        let mut first = self.queue.peek().map_or(Duration::MAX, |next| next.due);
        let mut turn = Turn::Event;
        for (host, machine) in (0..).map(HostId).zip(&self.machines) {
            if let Some(at) = machine.wakes_at.filter(|at| *at < first) {
                (first, turn) = (at, Turn::Wake(host));
            }
            if let Some(at) = machine.looks_at.filter(|at| *at < first) {
                (first, turn) = (at, Turn::Look(host));
            }
        }
        if let Some(at) = self.writes_at.filter(|at| *at < first) {
            (first, turn) = (at, Turn::Client);
        }
        if first > end {
            return None;
        }
        self.now = self.now.max(first);
        Some(turn)
    }

    pub(super) fn at(&mut self, later: Duration, event: Event) {
        self.sequence += 1;
        let due = self.now + later;
        self.queue.push(Due {
            due,
            sequence: self.sequence,
            event,
        });
    }

    pub(super) fn soon(&mut self, least: u64, most: u64, event: Event) {
        let later = self.later(least, most);
        self.at(later, event);
    }

    /// A time of so many milliseconds.
    pub(super) fn later(&mut self, least: u64, most: u64) -> Duration {
        if self.calm {
            Duration::from_millis(u64::midpoint(least, most))
        } else {
            self.dice.millis(least, most)
        }
    }

    pub(super) fn machine(&mut self, host: HostId) -> &mut Machine {
        &mut self.machines[usize::from(host.0)]
    }

    /// Whether a host reaches the store.
    pub(super) fn reaches_store(&self, host: HostId) -> bool {
        !self.store_lost && !self.machines[usize::from(host.0)].store_unreachable
    }

    fn happen(&mut self, event: Event) {
        if self.postponed(&event) {
            return;
        }
        self.events += 1;
        self.note(|| format!("{event:?}"));
        let now = self.moment();
        match event {
            Event::Sync(host, life) => {
                if self.ended(host, life, |busy| &mut busy.promise) {
                    self.sync(host);
                }
            }
            Event::Swap(host, life) => {
                if self.ended(host, life, |busy| &mut busy.store) {
                    let fault = self.store_fault(host);
                    if self.world.accepts_loss(host) {
                        self.counts.add(Happening::LossAccepted);
                    }
                    self.world.carry_to_store(host, fault, now);
                    self.after_swap(host);
                }
            }
            Event::Renew(host, life) => {
                if self.ended(host, life, |busy| &mut busy.renewal) {
                    let fault = self.store_fault(host);
                    self.world.renew(host, fault, now);
                    self.follow_up(host);
                    self.tell_of_store();
                }
            }
            Event::Obey(host, life) => self.obey(host, life),
            Event::Probe(host, life) => {
                if self.ended(host, life, |busy| &mut busy.probe) {
                    let answer = self.probe(host);
                    self.world.probed(host, answer, now);
                    self.follow_up(host);
                }
            }
            Event::Read(host) => {
                self.machine(host).busy.read = false;
                if self.reaches_store(host) {
                    self.read(host);
                }
            }
            Event::StoreSeen(host) => {
                let state = self.judge_store(host);
                self.world.feed(host, Input::Store(state), now);
                self.follow_up(host);
                if state == StoreState::Reachable && !self.is_behind(host) {
                    self.read_soon(host);
                }
            }
            Event::Letter(from, to, message) => {
                if !self.world.cut.contains(&(from, to)) {
                    self.world.deliver(from, to, &message, now);
                    self.follow_up(to);
                }
            }
            Event::Connect(host) => {
                self.machine(host).busy.connect = false;
                self.world.connect(host);
                self.news_of_servers();
            }
            Event::Receive(host) => {
                self.machine(host).busy.receive = false;
                if self.world.can_receive(host) {
                    self.world.receive(host, usize::MAX);
                    if let Some(leader) = self.world.server(host).receives() {
                        self.soon(0, 3, Event::Answer(leader, host));
                    }
                    self.stir_server(host);
                }
            }
            Event::Answer(leader, standby) => {
                if self.world.linked(leader, standby) {
                    self.world.answer(leader, standby);
                    self.look_soon(leader);
                }
            }
            Event::Reload(leader, standby) => {
                self.reloading.remove(&(leader, standby));
                self.world.reload_walsender(leader, standby);
            }
            Event::Checkpointer(host) => {
                self.reloading.remove(&(host, host));
                self.world.checkpointer_reloads(host);
            }
            Event::Deadman(host) => self.deadman(host),
            Event::AgentEnds(host) => {
                self.end_agent(host);
                self.soon(100, 3000, Event::AgentStarts(host));
            }
            Event::AgentStarts(host) => {
                if self.world.agent(host).is_none() {
                    self.start_agent(host);
                }
            }
            Event::LateSwap => {
                self.world.late_swap();
                if self.tell_of_record() {
                    self.counts.add(Happening::SwapLate);
                }
            }
        }
    }

    /// Puts off what would happen on a host that stands still; drops what has no power.
    fn postponed(&mut self, event: &Event) -> bool {
        let (host, of_agent) = match event {
            Event::Sync(host, _)
            | Event::Swap(host, _)
            | Event::Renew(host, _)
            | Event::Obey(host, _)
            | Event::Probe(host, _)
            | Event::Read(host)
            | Event::StoreSeen(host)
            | Event::AgentEnds(host)
            | Event::AgentStarts(host)
            | Event::Letter(_, host, _) => (*host, true),
            Event::Connect(host)
            | Event::Receive(host)
            | Event::Answer(host, _)
            | Event::Reload(host, _)
            | Event::Checkpointer(host) => (*host, false),
            Event::Deadman(host) => return self.deadman_postponed(*host),
            Event::LateSwap => return false,
        };
        let now = self.now;
        let machine = self.machine(host);
        let until = if of_agent {
            machine.stands_until.max(machine.agent_stands_until)
        } else {
            machine.stands_until
        };
        let off = machine.off;
        if !off && until > now {
            self.at(until - now, event.clone());
        }
        off || until > now
    }

    /// The deadman is a process of its own, which a stalled host stalls as well. It is the first
    /// to go on: what a server acknowledges in the instant before is what an asynchronous herd
    /// risks.
    fn deadman_postponed(&mut self, host: HostId) -> bool {
        let until = self.machine(host).stands_until;
        if until > self.now {
            self.queue.push(Due {
                due: until,
                sequence: 0,
                event: Event::Deadman(host),
            });
        }
        until > self.now
    }

    fn ended(
        &mut self,
        host: HostId,
        life: u32,
        busy: impl FnOnce(&mut Busy) -> &mut bool,
    ) -> bool {
        let machine = self.machine(host);
        let same = machine.life == life;
        if same {
            *busy(&mut machine.busy) = false;
        }
        same
    }

    /// A promise becomes durable, unless something is in the way.
    fn sync(&mut self, host: HostId) {
        let now = self.moment();
        if std::mem::take(&mut self.machine(host).dies_at_promise) {
            self.counts.add(Happening::PromiseLost);
            self.lose_power(host);
            self.news_of_servers();
            return;
        }
        if self.machine(host).syncs_fail_until > now.0 {
            self.counts.add(Happening::SyncFailed);
            self.world.fail_sync(host, now);
        } else {
            self.world.sync_promise(host, now);
        }
        self.follow_up(host);
    }

    /// An agent reads the store.
    fn read(&mut self, host: HostId) {
        let now = self.moment();
        if self.store_stale && self.dice.once_in(2) {
            self.counts.add(Happening::ReadStale);
            self.read_stale(host);
        } else {
            let is_behind = self.is_behind(host);
            if is_behind != self.machine(host).behind_since.is_some() {
                self.soon(0, 0, Event::StoreSeen(host));
            }
            if !is_behind {
                self.world.read_store(host, now);
            }
        }
        self.follow_up(host);
    }

    /// An agent reads the store, which says what was there some time ago.
    pub(super) fn read_stale(&mut self, host: HostId) {
        // After a loss a revision may be there twice.
        let places: Vec<usize> = (0..self.world.store.former.len()).collect();
        let Some(place) = self.dice.pick(&places) else {
            return;
        };
        let stale = self.world.store.former[place].clone();
        // The daemon hears nothing that is older than what it remembers. Its memory may be missing,
        // though: then it does, unless the store has lost more than that.
        let is_lost = self.world.store.loss.is_some();
        if !is_lost || !self.is_less_than_known(host, Some(&stale)) {
            let now = self.moment();
            self.world.feed(host, Input::Record(stale), now);
        }
    }

    /// A timer of an agent is due.
    fn wake(&mut self, host: HostId) {
        let now = self.moment();
        let machine = self.machine(host);
        let until = machine.stands_until.max(machine.agent_stands_until);
        let until = until.max(machine.clock_stands_until);
        if until > now.0 {
            machine.wakes_at = Some(until);
            return;
        }
        machine.wakes_at = None;
        self.events += 1;
        let due = self
            .world
            .agent(host)
            .and_then(|agent| agent.core.poll_timeout());
        if let Some((due, timer)) = due
            && due <= now
        {
            self.note(|| format!("fires {host:?} {timer:?}"));
            self.world.feed(host, Input::Timer(timer), now);
        }
        self.follow_up(host);
    }

    /// An agent looks at its server.
    fn look(&mut self, host: HostId) {
        let now = self.moment();
        let machine = self.machine(host);
        let until = machine.stands_until.max(machine.agent_stands_until);
        if until > now.0 {
            machine.looks_at = Some(until);
            return;
        }
        machine.looks_at = None;
        self.events += 1;
        self.world.look(host, now);
        self.follow_up(host);
        self.look_within(host, LOOK_EVERY);
    }

    /// The end of an order, or for a policy the question whether it is in force yet.
    fn obey(&mut self, host: HostId, life: u32) {
        if self.machine(host).life != life {
            return;
        }
        let ready = self.world.order_is_ready(host);
        let give_up = self.machine(host).enforce_until;
        if !ready && self.now < give_up {
            self.soon(5, 10, Event::Obey(host, life));
            return;
        }
        self.machine(host).busy.server = false;
        let now = self.now;
        let fails = self.machine(host).orders_fail_until > now;
        let execution = if ready && !fails {
            Execution::Succeeds
        } else {
            Execution::Fails
        };
        self.count_order(host, execution);
        self.world.carry_out(host, execution, self.moment());
        self.follow_up(host);
        self.news_of_servers();
    }

    fn store_fault(&mut self, host: HostId) -> StoreFault {
        if !self.reaches_store(host) {
            StoreFault::RequestLost
        } else if self.store_doubtful {
            let faults = [
                StoreFault::None,
                StoreFault::AnswerLost,
                StoreFault::RequestLate,
                StoreFault::RequestLost,
            ];
            let fault = faults[self.dice.below(faults.len())];
            if fault != StoreFault::None {
                self.counts.add(Happening::SwapInDoubt);
            }
            fault
        } else {
            self.store_requests += 1;
            StoreFault::None
        }
    }

    fn after_swap(&mut self, host: HostId) {
        self.world.check_policy();
        if !self.world.store.late.is_empty() {
            self.soon(1, 3000, Event::LateSwap);
        }
        self.follow_up(host);
        self.tell_of_record();
    }

    /// Who watches the store learns that the record is another, if it is.
    pub(super) fn tell_of_record(&mut self) -> bool {
        let news = self.revision != self.world.store.record.revision;
        if news {
            self.revision = self.world.store.record.revision;
            self.count_record();
            self.tell_of_store();
        }
        news
    }

    pub(super) fn tell_of_store(&mut self) {
        for host in self.world.herd.hosts() {
            self.read_soon(host);
        }
    }

    pub(super) fn read_soon(&mut self, host: HostId) {
        if !self.machine(host).busy.read {
            self.machine(host).busy.read = true;
            self.store_requests += 1;
            self.soon(2, 40, Event::Read(host));
        }
    }

    pub(super) fn store_seen_soon(&mut self) {
        for host in self.world.herd.hosts() {
            self.soon(100, 1000, Event::StoreSeen(host));
        }
    }

    pub(super) fn probe(&mut self, host: HostId) -> LeaderServer {
        let record = &self.world.store.record.value;
        let leader = record
            .leader
            .as_ref()
            .map(|name| self.world.herd.host(name));
        let answers = leader.is_some_and(|leader| {
            let machine = &self.machines[usize::from(leader.0)];
            machine.stands_until <= self.now
                && self.world.linked(host, leader)
                && self.world.server(leader).primary().is_some()
                && self.world.server(leader).wal.rule().epoch == record.epoch
        });
        if answers {
            LeaderServer::Answers
        } else {
            LeaderServer::Silent
        }
    }

    fn deadman(&mut self, host: HostId) {
        let due = self.world.host(host).deadman;
        if due.is_some_and(|due| due <= self.moment()) {
            self.world.host_mut(host).deadman = None;
            self.counts.add(Happening::DeadmanStruck);
            self.world.crash_server(host);
            self.news_of_servers();
        }
    }

    /// A client commits: mostly on a server whose gate is open, now and then through a session
    /// that was open before.
    fn client(&mut self) {
        self.events += 1;
        let by_old_session = self.dice.once_in(4);
        let takes = |host: &HostId| {
            let server = self.world.server(*host);
            let open = server.gate == manada_core::server::Gate::Open;
            let machine = &self.machines[usize::from(host.0)];
            server.primary().is_some()
                && (open || by_old_session)
                && machine.stands_until <= self.now
        };
        let primaries: Vec<HostId> = self.world.herd.hosts().filter(takes).collect();
        if let Some(host) = self.dice.pick(&primaries) {
            self.world.write(host);
            if self.cancels_until > self.now && self.world.cancel(host) {
                self.counts.add(Happening::CommitCancelled);
            }
            self.news_of_servers();
        }
        self.write_soon();
    }

    pub(super) fn write_soon(&mut self) {
        let later = self.dice.millis(self.write_pause / 10, self.write_pause);
        self.writes_at = Some(self.now + later);
    }
}
