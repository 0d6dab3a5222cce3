//! What happens to servers: by each other, by clients and by accidents.

use manada_core::action::Stop;
use manada_core::position::{Epoch, RuleId};
use manada_core::server::{
    Enforced, Follower, Gate, PrimaryFacts, Promise, ServerFacts, StandbyFacts,
};
use manada_core::timer::Moment;

use super::ledger::{Fate, Violation, Written};
use super::server::{Primary, Run, Server, Setting, Walsender};
use super::wal::{self, Entry, Mark, Wal, WriteId};
use super::{Host, HostId, World};
use crate::shared::Shared;

impl World {
    /// The beginning: the first has written the first rule, and all stream from it.
    pub(super) fn create(&mut self, now: Moment) {
        let mut wal = Wal::initial();
        let leader = HostId(0);
        let first = RuleId {
            epoch: Epoch(1),
            sub: 0,
        };
        wal.append(Entry::Rule(first, leader));
        for host in self.herd.hosts() {
            let mut server = Server::stopped(wal.clone(), host != leader);
            if host == leader {
                server.become_primary(0);
            } else {
                server.start_standby(Some(leader));
            }
            self.hosts.push(Host {
                promise: Promise {
                    rule: first,
                    ..World::founders_promise(host == leader)
                },
                agent: None,
                server: Shared::new(server),
                deadman: None,
            });
        }
        self.ledger.make_mut().leaders.insert(Epoch(1), leader);
        let published = self.store.record.value.policies.first().cloned();
        if let Some(published) = published {
            let enforced = Enforced::Policy(published.policy);
            let setting = Setting::of(&enforced, &self.herd);
            let server = self.server_mut(leader);
            server.set(setting);
            server.checkpointer_reloads();
            server.gate = Gate::Open;
        }
        for host in self.herd.hosts() {
            self.connect(host);
            self.receive(host, usize::MAX);
            self.answer(leader, host);
        }
        for host in self.herd.hosts() {
            self.start_agent(host, now);
            self.read_store(host, now);
        }
    }

    /// What a look at the server shows.
    pub fn facts(&self, host: HostId) -> ServerFacts {
        let server = self.server(host);
        match &server.run {
            Run::Stopped => ServerFacts::Stopped {
                clean_end: server
                    .clean
                    .then(|| server.wal.position(server.wal.length())),
                was_primary: !server.standby_signal,
            },
            Run::Standby { receives } => ServerFacts::Standby(StandbyFacts {
                position: server.wal.position(server.replayed),
                settled: receives.is_none() && server.replayed == server.wal.length(),
                follows: server.follows.map(|leader| self.herd.name(leader).clone()),
                streams: receives.is_some(),
            }),
            Run::Primary(primary) => ServerFacts::Primary(self.primary_facts(host, primary)),
        }
    }

    fn primary_facts(&self, host: HostId, primary: &Primary) -> PrimaryFacts {
        let server = self.server(host);
        let follower = |(standby, sender): (&HostId, &Walsender)| Follower {
            name: self.herd.name(*standby).clone(),
            streaming: true,
            replied: sender.attached && self.linked(host, *standby),
            flush_lsn: wal::lsn(sender.flushed),
        };
        PrimaryFacts {
            position: server.wal.position(server.wal.length()),
            recovery_end_lsn: wal::lsn(primary.recovery_end),
            enforced: server.setting.enforced(&self.herd),
            gate: server.gate,
            followers: primary.walsenders.iter().map(follower).collect(),
        }
    }

    /// The postmaster dies, or its host does.
    pub fn crash_server(&mut self, host: HostId) {
        if self.server(host).run == Run::Stopped {
            return;
        }
        self.stop(host, Stop::Immediate);
    }

    /// The host dies: what is not durable is gone.
    pub fn crash_host(&mut self, host: HostId) {
        self.end_agent(host);
        self.crash_server(host);
        self.host_mut(host).deadman = None;
    }

    /// Who receives from a server.
    pub(super) fn receivers_of(&self, host: HostId) -> Vec<HostId> {
        let receives = |standby: &HostId| self.server(*standby).receives() == Some(host);
        self.herd.hosts().filter(receives).collect()
    }

    /// A walreceiver ends. Its last answer may still be under way.
    pub(super) fn detach(&mut self, host: HostId) {
        if let Some(leader) = self.server(host).receives() {
            if let Some(primary) = self.server_mut(leader).primary_mut()
                && let Some(sender) = primary.walsenders.get_mut(&host)
            {
                sender.attached = false;
                if sender.confirmed <= sender.flushed {
                    primary.walsenders.remove(&host);
                }
            }
            self.server_mut(host).run = Run::Standby { receives: None };
        }
    }

    /// Whether a standby would begin to stream now.
    pub fn can_connect(&self, host: HostId) -> bool {
        let server = self.server(host);
        matches!(server.run, Run::Standby { receives: None })
            && server.follows.is_some_and(|leader| {
                self.linked(host, leader) && self.server(leader).greets(server)
            })
    }

    /// A standby's walreceiver connects, if it is let.
    pub fn connect(&mut self, host: HostId) {
        let Some(leader) = self.server(host).follows.filter(|_| self.can_connect(host)) else {
            return;
        };
        let standby = self.server(host).wal.end();
        if !self.server(leader).wal.contains(standby) {
            self.ledger.make_mut().violated(Violation::ForeignWal {
                standby: host,
                leader,
            });
        }
        let setting = self.server(leader).setting.clone();
        if let Some(primary) = self.server_mut(leader).primary_mut() {
            let sender = Walsender {
                setting,
                flushed: 0,
                confirmed: standby.length,
                attached: true,
            };
            primary.walsenders.insert(host, sender);
        }
        self.server_mut(host).run = Run::Standby {
            receives: Some(leader),
        };
    }

    /// Whether there is WAL to be received.
    pub fn can_receive(&self, host: HostId) -> bool {
        let server = self.server(host);
        server.receives().is_some_and(|leader| {
            self.linked(host, leader) && self.server(leader).wal.length() > server.wal.length()
        })
    }

    /// A standby receives, flushes and replays WAL; its answer is under way.
    pub fn receive(&mut self, host: HostId, entries_max: usize) {
        let Some(leader) = self.server(host).receives() else {
            return;
        };
        let source = self.host(leader).server.clone();
        let server = self.server_mut(host);
        server.wal.receive(&source.wal, entries_max);
        server.replayed = server.wal.length();
        let length = server.wal.length();
        // Else changing the leader's server would copy it.
        drop(source);
        if let Some(primary) = self.server_mut(leader).primary_mut()
            && let Some(sender) = primary.walsenders.get_mut(&host)
        {
            sender.confirmed = length;
        }
    }

    /// Whether an answer is under way from that standby.
    pub fn can_answer(&self, leader: HostId, standby: HostId) -> bool {
        let sender = self
            .server(leader)
            .primary()
            .and_then(|primary| primary.walsenders.get(&standby));
        sender.is_some_and(|sender| sender.confirmed > sender.flushed)
    }

    /// A standby's answer arrives.
    pub fn answer(&mut self, leader: HostId, standby: HostId) {
        if self.can_answer(leader, standby) {
            let told = self.server_mut(leader).answer(standby);
            // Judged by the walsender's own copy of the setting.
            self.acknowledged(leader, told, Fate::Acknowledged);
            self.server_mut(leader).dismiss(standby);
        }
    }

    /// Whether a walsender has not yet read the settings.
    pub fn can_reload(&self, leader: HostId, standby: HostId) -> bool {
        let server = self.server(leader);
        let sender = server
            .primary()
            .and_then(|primary| primary.walsenders.get(&standby));
        sender.is_some_and(|sender| sender.setting != server.setting)
    }

    /// A walsender reads the settings again.
    pub fn reload_walsender(&mut self, leader: HostId, standby: HostId) {
        let setting = self.server(leader).setting.clone();
        if let Some(primary) = self.server_mut(leader).primary_mut()
            && let Some(sender) = primary.walsenders.get_mut(&standby)
        {
            sender.setting = setting;
        }
    }

    /// Whether the checkpointer has not yet read the settings.
    pub fn checkpointer_is_late(&self, host: HostId) -> bool {
        let server = self.server(host);
        server
            .primary()
            .is_some_and(|primary| primary.defined != (*server.setting != Setting::Empty))
    }

    /// The checkpointer reads the settings.
    pub fn checkpointer_reloads(&mut self, host: HostId) {
        let told = self.server_mut(host).checkpointer_reloads();
        self.acknowledged(host, told, Fate::Unguarded);
    }

    /// A client commits on whatever takes writes: its session may be open from before a promotion
    /// or from before the gate was closed.
    pub fn write(&mut self, host: HostId) {
        let Some(primary) = self.server(host).primary() else {
            return;
        };
        let waits = primary.defined;
        let id = self.ledger.next();
        let server = self.server_mut(host);
        let mark: Mark = server.wal.append(Entry::Write(id));
        server.replayed = server.wal.length();
        if waits && let Some(primary) = server.primary_mut() {
            primary.waiting.push((id, mark.length));
        }
        self.ledger.make_mut().writes.push(Written {
            mark,
            fate: Fate::Waiting,
            shown: false,
        });
        if !waits {
            self.acknowledged(host, vec![id], Fate::Unguarded);
        }
    }

    /// The wait of the oldest commit is cancelled, if one waits: its client sees a warning that
    /// proves nothing.
    pub fn cancel(&mut self, host: HostId) -> bool {
        if let Some(primary) = self.server_mut(host).primary_mut()
            && !primary.waiting.is_empty()
        {
            let (id, _) = primary.waiting.remove(0);
            self.nobody_knows(vec![id]);
            return true;
        }
        false
    }

    pub(super) fn nobody_knows(&mut self, writes: Vec<WriteId>) {
        if writes.is_empty() {
            return;
        }
        let ledger = self.ledger.make_mut();
        for id in writes {
            ledger.get_mut(id).fate = Fate::Unknown;
        }
    }
}
