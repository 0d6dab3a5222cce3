//! A herd on one thread: cores, a store that is a value, and servers whose WAL is a list.
#![allow(dead_code, reason = "each test program uses a part of it")]

mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use manada_core::action::{Action, Order, Rung, Stop};
use manada_core::input::{Command, Input, LeaderServer, Outcome, StoreState};
use manada_core::node::{Limits, Node};
use manada_core::position::{Epoch, Position, RuleId};
use manada_core::record::{Desired, MemberRole, Record, Revision, Versioned, WhenShort};
use manada_core::server::{
    Enforced, Follower, Gate, PrimaryFacts, Promise, ServerFacts, StandbyFacts,
};
use manada_core::standing::{Standing, StandingKind};
use manada_core::timer::{Moment, Timer, Timings};
use manada_core::{lease::Lease, message::Message, policy::Policy, reason::Reason};
use manada_model::{Lsn, NodeName, SyncMethod};

/// How many events a test may take: far more than any needs.
const EVENTS_MAX: usize = 200_000;

/// How often servers are looked at, and WAL is sent, in milliseconds.
const LOOK_EVERY: u64 = 20;

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch(number)
}

pub(crate) fn name(text: &str) -> NodeName {
    text.parse().expect("a name")
}

/// `ANY count` of those.
pub(crate) fn any(count: u32, standbys: &[&str]) -> Policy {
    Policy {
        method: SyncMethod::Any,
        count,
        standbys: standbys.iter().map(|text| name(text)).collect(),
    }
}

pub(crate) fn server(priority: u8) -> MemberRole {
    MemberRole::Server { priority }
}

/// One thing in the WAL, at the LSN that is its index plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Commit(u64),
    Rule(RuleId),
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    Stopped { clean: bool },
    Hangs,
    Starts,
    Standby,
    Primary,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) runs: Runs,
    pub(crate) wal: Vec<Entry>,
    pub(crate) follows: Option<NodeName>,
    pub(crate) was_primary: bool,
    pub(crate) recovery_end: usize,
    pub(crate) enforced: Enforced,
    /// What somebody else has set, which wins over what is ordered.
    pub(crate) overridden: Option<Enforced>,
    pub(crate) gate: Gate,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) core: Node,
    pub(crate) disk: Promise,
    pub(crate) server: Server,
    /// Power, agent and network: a host is there or it is not.
    pub(crate) up: bool,
    pub(crate) agent: bool,
    /// Neither the store nor another host is reached.
    pub(crate) isolated: bool,
    /// Signs of life in the store are not seen.
    pub(crate) misses_beats: bool,
    /// When the server is killed unless another moment is set before.
    pub(crate) deadman: Option<Moment>,
    /// Its server never comes to the end of its recovery as a primary.
    pub(crate) starts_for_ever: bool,
    /// Its server connects again and again, and gets nothing.
    pub(crate) flaps: bool,
    /// All connections of its server are taken.
    pub(crate) is_full: bool,
    /// Orders of that kind fail so often.
    pub(crate) failing: Option<(&'static str, u32)>,
    /// How they fail.
    pub(crate) fails_with: Outcome,
}

#[derive(Debug)]
enum Event {
    Input(NodeName, Input),
    Finish(NodeName, Action),
    Look,
}

/// A herd. `acknowledged` is what may not be lost: no longer what an asynchronous failover gave up.
pub(crate) struct Herd {
    pub(crate) now: u64,
    pub(crate) hosts: BTreeMap<NodeName, Host>,
    pub(crate) record: Versioned<Record>,
    pub(crate) lease: Option<Lease>,
    pub(crate) store_is_up: bool,
    pub(crate) acknowledged: BTreeSet<u64>,
    /// From which standing to which nodes were seen to go.
    pub(crate) changes: BTreeSet<(StandingKind, StandingKind)>,
    pub(crate) journal: Vec<(u64, NodeName, Action)>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    waiting: Vec<(NodeName, usize, u64)>,
    next_value: u64,
}

impl Herd {
    /// `a` leads, all others follow, and commits wait for `count` of them.
    pub(crate) fn new(members: &[(&str, MemberRole)], count: u32, when_short: WhenShort) -> Herd {
        let timings = Timings::default();
        let limits = Limits {
            timings,
            loss_bytes_max: 10,
        };
        let founder = name(members[0].0);
        let standbys: Vec<&str> = members[1..].iter().map(|(text, _)| *text).collect();
        let policy = if count == 0 {
            Policy::asynchronous()
        } else {
            any(count, &standbys)
        };
        let record = Record::found(
            founder.clone(),
            Position::default(),
            policy.clone(),
            Desired {
                method: SyncMethod::Any,
                count,
                standbys: None,
                when_short,
            },
            members
                .iter()
                .map(|(text, role)| (name(text), *role))
                .collect(),
        );
        let host = |text: &str| {
            let leads = name(text) == founder;
            let server = Server {
                runs: if leads { Runs::Primary } else { Runs::Standby },
                wal: Vec::new(),
                follows: (!leads).then(|| founder.clone()),
                was_primary: leads,
                recovery_end: 0,
                enforced: Enforced::Policy(policy.clone()),
                overridden: None,
                gate: Gate::Open,
            };
            Host {
                core: Node::new(name(text), Promise::default(), limits.clone()),
                disk: Promise::default(),
                server,
                up: true,
                agent: true,
                isolated: false,
                misses_beats: false,
                deadman: None,
                starts_for_ever: false,
                flaps: false,
                is_full: false,
                failing: None,
                fails_with: Outcome::Failed,
            }
        };
        let mut herd = Herd {
            now: 0,
            hosts: members
                .iter()
                .map(|(text, _)| (name(text), host(text)))
                .collect(),
            record: Versioned {
                revision: Revision(1),
                value: record,
            },
            lease: None,
            store_is_up: true,
            acknowledged: BTreeSet::new(),
            changes: BTreeSet::new(),
            journal: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            waiting: Vec::new(),
            next_value: 1,
        };
        herd.schedule(0, Event::Look);
        for host in herd.hosts.keys().cloned().collect::<Vec<_>>() {
            let record = herd.record.clone();
            herd.schedule(0, Event::Input(host, Input::Record(record)));
        }
        herd
    }

    /// A leader `a` with two standbys `b` and `c`, any one of which has to have a commit.
    pub(crate) fn of_three() -> Herd {
        let members = [("a", server(1)), ("b", server(1)), ("c", server(1))];
        let mut herd = Herd::new(&members, 1, WhenShort::Block);
        herd.settle();
        herd.run(100);
        herd
    }

    /// Lets that many milliseconds pass.
    pub(crate) fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        for _ in 0..EVENTS_MAX {
            let event = self.events.first_key_value().map(|((due, _), _)| *due);
            let timer = self.next_timer();
            match (event, timer) {
                (event, Some((due, host, timer)))
                    if due <= end && event.is_none_or(|event| due < event) =>
                {
                    self.now = due.max(self.now);
                    self.handle(&host, Input::Timer(timer));
                }
                (Some(due), _) if due <= end => {
                    self.now = due.max(self.now);
                    let (_, event) = self.events.pop_first().expect("it was seen");
                    self.happen(event);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the herd does not come to rest: {:#?}", self.tail());
    }

    /// Lets time pass until it is so, at most half a minute.
    pub(crate) fn run_until(&mut self, what: &str, is_so: impl Fn(&Herd) -> bool) -> u64 {
        let begin = self.now;
        while !is_so(self) {
            assert!(
                self.now - begin < 60_000,
                "{what} did not happen\n{}\n{}",
                self.tail(),
                self.state()
            );
            self.run(10);
        }
        self.now - begin
    }

    /// Until somebody leads with an open gate under one policy, and all others that are up follow.
    pub(crate) fn settle(&mut self) -> u64 {
        self.run_until("a whole herd", Herd::is_whole)
    }

    pub(crate) fn is_whole(&self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        self.record.value.policies.len() == 1
            && self
                .hosts
                .iter()
                .filter(|(name, host)| **name != leader && host.up && host.agent)
                .all(|(name, host)| {
                    !self.record.value.members.contains_key(name)
                        || (host.server.runs == Runs::Standby
                            && host.server.follows.as_ref() == Some(&leader))
                })
    }

    /// Who leads with an open gate, by its own word and the record's.
    pub(crate) fn leader(&self) -> Option<NodeName> {
        let leader = self.record.value.leader.clone()?;
        let host = &self.hosts[&leader];
        let leads = matches!(host.core.standing(), Standing::Leading { .. });
        (leads && host.up && host.server.runs == Runs::Primary && host.server.gate == Gate::Open)
            .then_some(leader)
    }

    pub(crate) fn host(&mut self, text: &str) -> &mut Host {
        self.hosts.get_mut(&name(text)).expect("a member")
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.record.value.policies.last().expect("one").policy
    }

    /// A commit on that node; its value, if the server takes it.
    pub(crate) fn write(&mut self, text: &str) -> Option<u64> {
        let value = self.next_value;
        let host = self.host(text);
        if !host.up || host.server.runs != Runs::Primary || host.server.gate == Gate::Closed {
            return None;
        }
        host.server.wal.push(Entry::Commit(value));
        let end = host.server.wal.len();
        self.next_value += 1;
        self.waiting.push((name(text), end, value));
        Some(value)
    }

    pub(crate) fn command(&mut self, text: &str, command: Command) {
        self.schedule(0, Event::Input(name(text), Input::Command(command)));
    }

    /// The postmaster is killed; the agent sees it.
    pub(crate) fn kill_server(&mut self, text: &str) {
        let server = &mut self.host(text).server;
        server.runs = Runs::Stopped { clean: false };
        self.drop_sessions(text);
        self.look_at(&name(text));
    }

    /// The host is gone at once.
    pub(crate) fn power_off(&mut self, text: &str) {
        let host = self.host(text);
        host.up = false;
        host.server.runs = Runs::Stopped { clean: false };
        self.drop_sessions(text);
    }

    /// It boots, or its agent starts: a new core, with what was on its disk.
    pub(crate) fn power_on(&mut self, text: &str) {
        let disk = self.host(text).disk;
        let limits = Limits {
            timings: Timings::default(),
            loss_bytes_max: 10,
        };
        let host = self.host(text);
        host.core = Node::new(name(text), disk, limits);
        host.up = true;
        host.agent = true;
        let record = self.record.clone();
        self.handle(&name(text), Input::Record(record));
        self.look_at(&name(text));
    }

    /// The agent ends; the server goes on.
    pub(crate) fn kill_agent(&mut self, text: &str) {
        self.host(text).agent = false;
    }

    pub(crate) fn set_store(&mut self, up: bool) {
        self.store_is_up = up;
        for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
            self.tell_store_state(&host);
        }
    }

    /// Cuts a host off from all others and from the store, or joins it again.
    pub(crate) fn isolate(&mut self, text: &str, isolated: bool) {
        self.host(text).isolated = isolated;
        self.tell_store_state(&name(text));
    }

    fn tell_store_state(&mut self, host: &NodeName) {
        let state = match self.store_answers(host) {
            true => StoreState::Reachable,
            false => StoreState::Unreachable,
        };
        self.schedule(0, Event::Input(host.clone(), Input::Store(state)));
    }

    fn store_answers(&self, host: &NodeName) -> bool {
        self.store_is_up && !self.hosts[host].isolated
    }

    fn reaches(&self, one: &NodeName, other: &NodeName) -> bool {
        let (from, to) = (&self.hosts[one], &self.hosts[other]);
        to.up && !from.isolated && !to.isolated
    }

    /// Everything that was acknowledged is in the leader's WAL.
    pub(crate) fn assert_nothing_lost(&self) {
        let leader = self.leader().expect("a leader");
        let wal = &self.hosts[&leader].server.wal;
        for value in &self.acknowledged {
            assert!(
                wal.contains(&Entry::Commit(*value)),
                "{value} was acknowledged, and is not on {leader}"
            );
        }
    }

    /// The orders that were given from a moment on, without those that happen all the time.
    pub(crate) fn orders_since(&self, moment: u64) -> Vec<(NodeName, &Order)> {
        self.journal
            .iter()
            .filter(|(when, _, _)| *when >= moment)
            .map(|(_, who, action)| (who.clone(), &action.order))
            .collect()
    }

    pub(crate) fn state(&self) -> String {
        let mut text = format!("{:?}\n", self.record);
        for (name, host) in &self.hosts {
            text += &format!(
                "{name}: {:?} promise {:?} server {:?} {:?} {:?} {:?}, wal {:?}\n  timers {:?}\n  {:?}\n",
                host.core.standing(),
                host.disk,
                host.server.runs,
                host.server.follows,
                host.server.gate,
                host.server.in_force(),
                host.server.wal.iter().rev().take(4).collect::<Vec<_>>(),
                host.core.timers(),
                host.core.obstacles(),
            );
        }
        text
    }

    pub(crate) fn tail(&self) -> String {
        self.journal
            .iter()
            .filter(|(_, _, action)| !matches!(action.order, Order::RenewLease { .. }))
            .rev()
            .take(60)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|(when, who, action)| format!("{when} {who} {:?}\n", action))
            .collect()
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    fn next_timer(&self) -> Option<(u64, NodeName, Timer)> {
        self.hosts
            .iter()
            .filter(|(_, host)| host.up && host.agent)
            .filter_map(|(name, host)| {
                let (due, timer) = host.core.poll_timeout()?;
                Some((due.0.as_millis() as u64, name.clone(), timer))
            })
            .min()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(host, input) => self.handle(&host, input),
            Event::Finish(host, action) => self.finish(&host, action),
            Event::Look => {
                self.obey_deadmen();
                self.stream();
                for host in self.hosts.keys().cloned().collect::<Vec<_>>() {
                    self.look_at(&host);
                    if self.store_answers(&host)
                        && !self.hosts[&host].misses_beats
                        && let Some(lease) = self.lease.clone()
                    {
                        self.handle(&host, Input::Lease(lease));
                        let record = self.record.clone();
                        self.handle(&host, Input::Record(record));
                    }
                }
                self.schedule(LOOK_EVERY, Event::Look);
            }
        }
    }

    fn look_at(&mut self, host: &NodeName) {
        let facts = self.facts(host);
        self.handle(host, Input::Server(facts));
    }

    pub(crate) fn handle(&mut self, name: &NodeName, input: Input) {
        let now = Moment(Duration::from_millis(self.now));
        let host = self.hosts.get_mut(name).expect("a member");
        if !host.up || !host.agent {
            return;
        }
        let before = host.core.standing().kind();
        host.core.handle(input, now);
        let after = host.core.standing().kind();
        if before != after {
            self.changes.insert((before, after));
        }
        let mut actions = Vec::new();
        while let Some(action) = host.core.poll_action() {
            actions.push(action);
        }
        for action in actions {
            self.journal.push((self.now, name.clone(), action.clone()));
            if matches!(action.reason, Reason::LossAccepted { .. }) {
                self.acknowledged.clear();
            }
            let takes = match &action.order {
                Order::Send { .. } => 1,
                Order::Swap { .. } | Order::RenewLease { .. } => 5,
                Order::Promise(_) => 3,
                Order::ProbeLeader { .. } => 100,
                Order::Promote => 140,
                _ => 10,
            };
            self.schedule(takes, Event::Finish(name.clone(), action));
        }
    }

    fn deliver(&mut self, from: &NodeName, to: &NodeName, message: Message) {
        if !self.reaches(from, to) {
            return;
        }
        let input = Input::Message {
            from: from.clone(),
            message,
        };
        self.handle(to, input);
    }

    /// WAL goes to whoever follows, and commits return for which enough have it.
    fn stream(&mut self) {
        let followers: Vec<(NodeName, NodeName)> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.up && host.server.runs == Runs::Standby)
            .filter_map(|(name, host)| Some((name.clone(), host.server.follows.clone()?)))
            .collect();
        for (name, leader) in followers {
            let source = &self.hosts[&leader];
            let sends = matches!(source.server.runs, Runs::Primary | Runs::Standby)
                && self.reaches(&name, &leader);
            if !sends {
                continue;
            }
            let wal = source.server.wal.clone();
            let host = &self.hosts[&name];
            if host.flaps {
                continue;
            }
            let server = &host.server;
            if !wal.starts_with(&server.wal) && !server.wal.starts_with(&wal) {
                // One that could not be made to leave a former leader gets nothing from it.
                let meant = matches!(host.core.standing(), Standing::Following { leader: whom, .. }
                    if whom == leader && host.disk.epoch == self.record.value.epoch);
                assert!(
                    !meant,
                    "{name} follows {leader} with WAL that is not of its history\n{}\n{}",
                    self.tail(),
                    self.state()
                );
                continue;
            }
            if wal.len() > server.wal.len() {
                let server = &mut self.hosts.get_mut(&name).expect("a member").server;
                server.wal = wal;
            }
        }
        self.acknowledge();
    }
}
