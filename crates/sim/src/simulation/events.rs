//! What happens when: events in simulated time around the world.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use manada_core::input::{Input, LeaderServer, StoreState};
use manada_core::message::Message;
use manada_core::record::Revision;
use manada_core::timer::Moment;

use super::dice::Dice;
use crate::shared::Shared;
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
    pub(super) machines: Vec<Machine>,
    pub(super) dice: Dice,
    pub(super) store_lost: bool,
    pub(super) store_doubtful: bool,
    /// The longest pause between two writes of clients, in milliseconds.
    pub write_pause: u64,
    /// What happened, if somebody wants to know.
    pub journal: Option<Vec<String>>,
    queue: BinaryHeap<Due>,
    sequence: u64,
    revision: Revision,
}

/// What is simulated of a host beyond its state.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// Nothing happens on it before.
    pub(super) stands_until: Duration,
    /// Its agent does nothing before.
    pub(super) agent_stands_until: Duration,
    /// No timer of its agent fires before.
    pub(super) clock_stands_until: Duration,
    /// What is ordered of its server fails before.
    pub(super) orders_fail_until: Duration,
    /// It has no power.
    pub(super) off: bool,
    /// It does not reach the store.
    pub(super) store_unreachable: bool,
    /// Counts the agent's lives.
    pub(super) life: u32,
    pub(super) busy: Busy,
    /// When the policy that is being enforced is given up.
    pub(super) enforce_until: Duration,
    pub(super) deadman: Option<Moment>,
    pub(super) wakes_at: Option<Duration>,
    pub(super) looks_at: Option<Duration>,
}

/// What of an agent is under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busy {
    pub(super) server: bool,
    pub(super) store: bool,
    pub(super) renewal: bool,
    pub(super) promise: bool,
    pub(super) probe: bool,
    pub(super) read: bool,
    pub(super) receive: bool,
    pub(super) connect: bool,
}

/// An event and its time; the earliest is the greatest.
#[derive(Clone, Debug)]
struct Due {
    due: Duration,
    sequence: u64,
    event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Wake(HostId),
    Sync(HostId, u32),
    Swap(HostId, u32),
    Renew(HostId, u32),
    Obey(HostId, u32),
    Probe(HostId, u32),
    Look(HostId),
    Read(HostId),
    StoreSeen(HostId),
    Letter(HostId, HostId, Shared<Message>),
    Connect(HostId),
    Receive(HostId),
    Answer(HostId, HostId),
    Reload(HostId, HostId),
    Checkpointer(HostId),
    Deadman(HostId),
    LateSwap,
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
            machines: vec![Machine::default(); hosts],
            dice: Dice::new(seed),
            store_lost: false,
            store_doubtful: false,
            write_pause: 500,
            journal: None,
            queue: BinaryHeap::new(),
            sequence: 0,
            revision: world.store.record.revision,
            world,
        };
        for host in simulation.world.herd.hosts() {
            simulation.look_soon(host);
            simulation.follow_up(host);
        }
        simulation.at(Duration::from_millis(100), Event::Client);
        simulation
    }

    /// The time as the cores have it.
    pub fn moment(&self) -> Moment {
        Moment(self.now)
    }

    /// Lets the time pass until then.
    pub fn run_until(&mut self, end: Duration) {
        while self.world.ledger.violation.is_none()
            && self.queue.peek().is_some_and(|next| next.due <= end)
            && let Some(next) = self.queue.pop()
        {
            self.now = self.now.max(next.due);
            self.happen(next.event);
        }
        self.now = self.now.max(end);
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
        let later = self.dice.millis(least, most);
        self.at(later, event);
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
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{:>12.3?} {event:?}", self.now));
        }
        let now = self.moment();
        match event {
            Event::Wake(host) => self.wake(host),
            Event::Sync(host, life) => {
                if self.ended(host, life, |busy| &mut busy.promise) {
                    self.world.sync_promise(host, now);
                    self.follow_up(host);
                }
            }
            Event::Swap(host, life) => {
                if self.ended(host, life, |busy| &mut busy.store) {
                    let fault = self.store_fault(host);
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
            Event::Look(host) => {
                // An earlier look may have taken its place.
                if self.machine(host).looks_at.is_some_and(|at| at <= now.0) {
                    self.machine(host).looks_at = None;
                    self.world.look(host, now);
                    self.follow_up(host);
                    self.look_within(host, LOOK_EVERY);
                }
            }
            Event::Read(host) => {
                self.machine(host).busy.read = false;
                if self.reaches_store(host) {
                    self.world.read_store(host, now);
                    self.follow_up(host);
                }
            }
            Event::StoreSeen(host) => {
                let state = if self.reaches_store(host) {
                    StoreState::Reachable
                } else {
                    StoreState::Unreachable
                };
                self.world.feed(host, Input::Store(state), now);
                self.follow_up(host);
                if state == StoreState::Reachable {
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
            Event::Reload(leader, standby) => self.world.reload_walsender(leader, standby),
            Event::Checkpointer(host) => self.world.checkpointer_reloads(host),
            Event::Deadman(host) => self.deadman(host),
            Event::LateSwap => {
                self.world.late_swap();
                self.tell_of_record();
            }
            Event::Client => self.client(),
        }
    }

    /// Puts off what would happen on a host that stands still; drops what has no power.
    fn postponed(&mut self, event: &Event) -> bool {
        let (host, of_agent) = match event {
            Event::Wake(host)
            | Event::Sync(host, _)
            | Event::Swap(host, _)
            | Event::Renew(host, _)
            | Event::Obey(host, _)
            | Event::Probe(host, _)
            | Event::Look(host)
            | Event::Read(host)
            | Event::StoreSeen(host)
            | Event::Letter(_, host, _) => (*host, true),
            Event::Connect(host)
            | Event::Receive(host)
            | Event::Answer(host, _)
            | Event::Reload(host, _)
            | Event::Checkpointer(host) => (*host, false),
            // The deadman is a process of its own, which a stalled host stalls as well.
            Event::Deadman(host) => (*host, false),
            Event::LateSwap | Event::Client => return false,
        };
        let now = self.now;
        let machine = self.machine(host);
        let mut until = machine.stands_until;
        if of_agent {
            until = until.max(machine.agent_stands_until);
        }
        if matches!(event, Event::Wake(_)) {
            until = until.max(machine.clock_stands_until);
        }
        let off = machine.off;
        if !off && until > now {
            self.at(until - now, event.clone());
        }
        off || until > now
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

    fn wake(&mut self, host: HostId) {
        let now = self.moment();
        if self.machine(host).wakes_at.is_none_or(|at| at > now.0) {
            return;
        }
        self.machine(host).wakes_at = None;
        let due = self
            .world
            .agent(host)
            .and_then(|agent| agent.core.poll_timeout());
        if let Some((due, timer)) = due
            && due <= now
        {
            if let Some(journal) = &mut self.journal {
                journal.push(format!("             fires {timer:?}"));
            }
            self.world.feed(host, Input::Timer(timer), now);
        }
        self.follow_up(host);
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
            faults[self.dice.below(faults.len())]
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

    /// Who watches the store learns that the record is another.
    fn tell_of_record(&mut self) {
        if self.revision != self.world.store.record.revision {
            self.revision = self.world.store.record.revision;
            self.tell_of_store();
        }
    }

    fn tell_of_store(&mut self) {
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
            self.world.crash_server(host);
            self.news_of_servers();
        }
    }

    /// A client commits: mostly on a server whose gate is open, now and then through a session
    /// that was open before.
    fn client(&mut self) {
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
            self.news_of_servers();
        }
        self.soon(self.write_pause / 10, self.write_pause, Event::Client);
    }
}
