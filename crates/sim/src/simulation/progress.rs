//! What follows from what has happened, and how long it takes.

use std::time::Duration;

use manada_core::action::{Order, Rung, Stop};
use manada_core::input::LeaderServer;
use manada_core::record::Mode;

use super::events::Simulation;
use super::happening::Happening;
use super::machine::Busy;
use super::queue::Event;
use crate::world::{Execution, HostId};

/// How long a policy may take to be in force.
const ENFORCE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request to a store that does not answer is waited for.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a leader's server is asked.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// How long a process of a busy server takes to read settings again.
const SLOW_RELOAD_MILLIS_MAX: u64 = 4000;

/// One letter in so many gets lost, and one in so many comes twice.
const ODD_LETTER: usize = 50;

impl Simulation {
    /// A server has changed: agents look, walreceivers connect and receive.
    pub(super) fn news_of_servers(&mut self) {
        let mut news = false;
        for host in self.world.herd.hosts() {
            let digest = self.world.host(host).server.digest();
            let known = &mut self.known[usize::from(host.0)];
            if std::mem::replace(known, digest) != digest {
                news = true;
                if self.world.has_news(host) {
                    self.look_soon(host);
                }
            }
        }
        if news {
            for host in self.world.herd.hosts() {
                self.stir_server(host);
            }
        }
    }

    /// The same when who reaches whom may have changed.
    pub(super) fn news_of_links(&mut self) {
        self.known.fill(0);
        self.news_of_servers();
    }

    pub(super) fn look_soon(&mut self, host: HostId) {
        let later = self.later(2, 40);
        self.look_within(host, later);
    }

    pub(super) fn look_within(&mut self, host: HostId, later: Duration) {
        let due = self.now + later;
        let machine = self.machine(host);
        machine.looks_at = Some(machine.looks_at.map_or(due, |at| at.min(due)));
    }

    /// What a server does by itself.
    pub(super) fn stir_server(&mut self, host: HostId) {
        if self.world.can_connect(host) && !self.machine(host).busy.connect {
            self.machine(host).busy.connect = true;
            self.soon(5, 100, Event::Connect(host));
        }
        if self.world.can_receive(host) && !self.machine(host).busy.receive {
            self.machine(host).busy.receive = true;
            self.soon(0, 5, Event::Receive(host));
        }
        let slow = self.reloads_slow_until > self.now;
        if self.world.checkpointer_is_late(host) && self.reloading.insert((host, host)) {
            let most = if slow { SLOW_RELOAD_MILLIS_MAX } else { 200 };
            self.soon(0, most, Event::Checkpointer(host));
        }
        let Some(primary) = self.world.server(host).primary() else {
            return;
        };
        let senders: Vec<HostId> = primary.walsenders.keys().copied().collect();
        for standby in senders {
            if self.world.can_reload(host, standby) && self.reloading.insert((host, standby)) {
                let most = if slow { SLOW_RELOAD_MILLIS_MAX } else { 50 };
                self.soon(0, most, Event::Reload(host, standby));
                if slow {
                    self.counts.add(Happening::ReloadsSlow);
                }
            }
            if self.world.can_answer(host, standby) {
                self.soon(0, 3, Event::Answer(host, standby));
            }
        }
    }

    /// What an agent's core has ordered gets its time.
    pub(super) fn follow_up(&mut self, host: HostId) {
        self.send_letters();
        self.remember(host);
        let Some(agent) = self.world.agent(host) else {
            return;
        };
        let promises = !agent.promise.is_empty();
        let swaps = !agent.store.is_empty();
        let renews = !agent.renewals.is_empty();
        let orders = !agent.server.is_empty();
        let probes = agent.probes.is_some();
        let timeout = agent.core.poll_timeout().map(|(due, _)| due.0);
        let now = self.now;
        let life = self.machine(host).life;
        if promises && !std::mem::replace(&mut self.machine(host).busy.promise, true) {
            self.soon(1, 20, Event::Sync(host, life));
        }
        if swaps && !std::mem::replace(&mut self.machine(host).busy.store, true) {
            self.request(host, Event::Swap(host, life));
        }
        if renews && !std::mem::replace(&mut self.machine(host).busy.renewal, true) {
            self.request(host, Event::Renew(host, life));
        }
        if probes && !std::mem::replace(&mut self.machine(host).busy.probe, true) {
            if self.probe(host) == LeaderServer::Answers {
                self.soon(1, 20, Event::Probe(host, life));
            } else {
                self.at(PROBE_TIMEOUT, Event::Probe(host, life));
            }
        }
        if orders && !std::mem::replace(&mut self.machine(host).busy.server, true) {
            self.begin(host, life);
        }
        let deadman = self.world.host(host).deadman;
        if std::mem::replace(&mut self.machine(host).deadman, deadman) != deadman
            && let Some(deadman) = deadman
        {
            self.at(deadman.0.saturating_sub(self.now), Event::Deadman(host));
        }
        self.machine(host).wakes_at = timeout.map(|due| due.max(now));
    }

    fn request(&mut self, host: HostId, event: Event) {
        if self.reaches_store(host) && !self.store_doubtful {
            self.soon(2, 20, event);
        } else {
            self.at(STORE_TIMEOUT, event);
        }
    }

    /// Begins with the first of the orders about the server.
    fn begin(&mut self, host: HostId, life: u32) {
        self.world.begin_order(host);
        self.world.check_policy();
        self.stir_server(host);
        let first = self
            .world
            .agent(host)
            .and_then(|agent| agent.server.front());
        let Some(order) = first.map(|action| action.order.clone()) else {
            return;
        };
        self.machine(host).enforce_until = self.now + ENFORCE_TIMEOUT;
        let (least, most) = match order {
            Order::StartStandby { .. } | Order::StartPrimary => (200, 800),
            Order::Stop(Stop::Fast) => (50, 400),
            Order::Stop(Stop::Immediate) => (5, 50),
            Order::Checkpoint => (20, 500),
            Order::Promote => (80, 250),
            Order::StopReceiving | Order::Follow { .. } => (5, 60),
            Order::Rejoin { rung, .. } => match rung {
                Rung::Rewind => (500, 3000),
                Rung::Clone => (1000, 8000),
            },
            Order::FetchWal { .. } => (20, 300),
            Order::WriteRule(_) | Order::Enforce(_) | Order::SetGate(_) => (2, 20),
            Order::Swap { .. }
            | Order::RenewLease { .. }
            | Order::Promise(_)
            | Order::Send { .. }
            | Order::ProbeLeader { .. }
            | Order::Deadman { .. } => (0, 0),
        };
        self.soon(least, most, Event::Obey(host, life));
    }

    /// Counts the order at the head of the queue, which is about to end so.
    pub(super) fn count_order(&mut self, host: HostId, execution: Execution) {
        let first = self
            .world
            .agent(host)
            .and_then(|agent| agent.server.front());
        let order = first.map(|action| action.order.clone());
        self.note(|| format!("{host:?} {execution:?}: {order:?}"));
        let happening = match (order, execution) {
            (Some(_), Execution::Fails) => Happening::OrdersFailed,
            (Some(Order::StartPrimary), _) => Happening::StartedInPlace,
            (Some(Order::Stop(Stop::Fast)), _) => Happening::StoppedCleanly,
            (Some(Order::FetchWal { .. }), _) => Happening::WalFetched,
            (Some(Order::Rejoin { rung, .. }), _) => match rung {
                Rung::Rewind => Happening::Rewound,
                Rung::Clone => Happening::Cloned,
            },
            (Some(_) | None, _) => return,
        };
        self.counts.add(happening);
    }

    /// Counts what another record shows.
    pub(super) fn count_record(&mut self) {
        let store = self.world.store.clone();
        self.note(|| format!("the record is {:?}", store.record));
        let Some(former) = store.former.back() else {
            return;
        };
        let (former, record) = (&former.value, &store.record.value);
        let changes = [
            (
                former.leader.is_none() && record.leader.is_some(),
                Happening::LeaderChanged,
            ),
            (former.desired != record.desired, Happening::PolicyChanged),
            (former.members != record.members, Happening::PriorityChanged),
            (
                former.mode != record.mode && record.mode == Mode::Paused,
                Happening::Paused,
            ),
        ];
        for (_, happening) in changes.into_iter().filter(|(changed, _)| *changed) {
            self.counts.add(happening);
        }
    }

    fn send_letters(&mut self) {
        for (from, to, message) in std::mem::take(&mut self.world.mail) {
            if !self.calm && self.dice.once_in(ODD_LETTER) {
                self.soon(5, 2000, Event::Letter(from, to, message.clone()));
            }
            if self.calm || !self.dice.once_in(ODD_LETTER) {
                self.soon(0, 5, Event::Letter(from, to, message));
            }
        }
    }

    /// The agent of a host is gone, and what was under way with it.
    pub(super) fn end_agent(&mut self, host: HostId) {
        self.world.end_agent(host);
        self.reloading.retain(|(server, _)| *server != host);
        let machine = self.machine(host);
        machine.life += 1;
        machine.busy = Busy::default();
        machine.behind_since = None;
        machine.wakes_at = None;
        machine.looks_at = None;
    }

    /// The agent of a host is started.
    pub(super) fn start_agent(&mut self, host: HostId) {
        self.end_agent(host);
        let now = self.moment();
        self.world.start_agent(host, now);
        // What it reads first may be old.
        if self.reaches_store(host) && self.dice.once_in(2) {
            self.read_stale(host);
        }
        self.look_soon(host);
        self.soon(5, 50, Event::StoreSeen(host));
        self.follow_up(host);
    }
}
