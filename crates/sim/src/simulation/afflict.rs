//! Brings a fault about, and ends it.

use std::time::Duration;

use manada_core::attainable::attainable;
use manada_core::input::{Command, Input};
use manada_core::server::{Enforced, Gate};

use super::events::Simulation;
use super::fault::Fault;
use super::queue::Event;
use crate::world::{HostId, Setting};

/// How long after an agent was told to restart it ends.
const RESTART_SAID: Duration = Duration::from_millis(200);

impl Simulation {
    /// A fault begins.
    pub fn begin_fault(&mut self, fault: &Fault) {
        let now = self.moment().0;
        self.note(|| format!("begins {fault:?}"));
        if let Some(happening) = fault.happening() {
            self.counts.add(happening);
        }
        match fault {
            Fault::KillServer(host) => self.world.crash_server(*host),
            Fault::KillAgent(host) => {
                if !self.machine(*host).off {
                    self.start_agent(*host);
                }
            }
            Fault::RestartAgent(host) => {
                self.command(*host, Command::AgentRestarts);
                // It has time to say so before it ends.
                self.at(RESTART_SAID, Event::AgentEnds(*host));
            }
            Fault::PowerLoss(host, _) => self.lose_power(*host),
            Fault::PowerLossAtPromise(host, _) => self.machine(*host).dies_at_promise = true,
            Fault::SyncFails(host, time) => self.machine(*host).syncs_fail_until = now + *time,
            // A shorter stall meanwhile ends none that began before.
            Fault::Stall(host, time) => later(&mut self.machine(*host).stands_until, now + *time),
            Fault::PauseAgent(host, time) => {
                later(&mut self.machine(*host).agent_stands_until, now + *time);
            }
            Fault::ClockStands(host, time) => {
                later(&mut self.machine(*host).clock_stands_until, now + *time);
            }
            Fault::Isolate(host, _) => {
                self.machine(*host).store_unreachable = true;
                for other in self.world.herd.hosts() {
                    self.part(*host, other);
                }
                self.store_seen_soon();
            }
            Fault::Part(one, other, _) => self.part(*one, *other),
            Fault::OneWay(from, to, _) => {
                self.world.cut.insert((*from, *to));
            }
            Fault::StoreLoss(_) => {
                self.store_lost = true;
                self.store_seen_soon();
            }
            Fault::RecordLoss(age, _) => self.lose_record(*age),
            Fault::StoreUnreachable(host, _) => {
                self.machine(*host).store_unreachable = true;
                self.store_seen_soon();
            }
            Fault::StoreDoubtful(_) => self.store_doubtful = true,
            Fault::StoreStale(_) => self.store_stale = true,
            Fault::OrdersFail(host, time) => {
                self.machine(*host).orders_fail_until = now + *time;
            }
            Fault::SlowReloads(time) => self.reloads_slow_until = now + *time,
            Fault::Cancels(time) => self.cancels_until = now + *time,
            Fault::Command(host, command) => self.command(*host, command.clone()),
            Fault::Pause(host, _) => self.command(*host, Command::Pause),
        }
        self.news_of_links();
    }

    /// What of it lasted ends.
    pub fn end_fault(&mut self, fault: &Fault) {
        self.note(|| format!("ends {fault:?}"));
        match fault {
            Fault::PowerLoss(host, _) => self.power_on(*host),
            Fault::PowerLossAtPromise(host, _) => {
                self.machine(*host).dies_at_promise = false;
                self.power_on(*host);
            }
            Fault::Isolate(host, _) => {
                self.machine(*host).store_unreachable = false;
                self.world
                    .cut
                    .retain(|(from, to)| from != host && to != host);
                self.store_seen_soon();
            }
            Fault::Part(one, other, _) => {
                self.world.cut.remove(&(*one, *other));
                self.world.cut.remove(&(*other, *one));
            }
            Fault::OneWay(from, to, _) => {
                self.world.cut.remove(&(*from, *to));
            }
            Fault::StoreLoss(_) => {
                self.store_lost = false;
                self.store_seen_soon();
            }
            Fault::RecordLoss(..) => self.recover(),
            Fault::StoreUnreachable(host, _) => {
                self.machine(*host).store_unreachable = false;
                self.store_seen_soon();
            }
            Fault::StoreDoubtful(_) => {
                self.store_doubtful = false;
                self.store_seen_soon();
            }
            Fault::StoreStale(_) => {
                self.store_stale = false;
                self.tell_of_store();
            }
            Fault::Pause(host, _) => self.command(*host, Command::Resume),
            Fault::KillServer(_)
            | Fault::KillAgent(_)
            | Fault::RestartAgent(_)
            | Fault::SyncFails(..)
            | Fault::Stall(..)
            | Fault::PauseAgent(..)
            | Fault::ClockStands(..)
            | Fault::OrdersFail(..)
            | Fault::SlowReloads(_)
            | Fault::Cancels(_)
            | Fault::Command(..) => {}
        }
        self.news_of_links();
    }

    /// An operator tells an agent.
    pub(super) fn command(&mut self, host: HostId, command: Command) {
        let now = self.moment();
        self.world.feed(host, Input::Command(command), now);
        self.follow_up(host);
    }

    /// A host is without power.
    pub(super) fn lose_power(&mut self, host: HostId) {
        self.end_agent(host);
        self.world.crash_host(host);
        self.machine(host).off = true;
    }

    fn power_on(&mut self, host: HostId) {
        if std::mem::take(&mut self.machine(host).off) {
            self.start_agent(host);
        }
    }

    fn part(&mut self, one: HostId, other: HostId) {
        self.world.cut.insert((one, other));
        self.world.cut.insert((other, one));
    }

    /// Lets that happen at these times from now on, and ends all of it.
    pub fn endure(&mut self, faults: &[(Duration, Fault)]) {
        let begun = self.now;
        let mut changes: Vec<(Duration, bool, &Fault)> = Vec::new();
        for (after, fault) in faults {
            changes.push((begun + *after, true, fault));
            changes.push((begun + *after + fault.lasts(), false, fault));
        }
        changes.sort_by_key(|(at, begins, _)| (*at, !*begins));
        for (at, begins, fault) in changes {
            self.run_until(at);
            if begins {
                self.begin_fault(fault);
            } else {
                self.end_fault(fault);
            }
        }
    }

    /// Whether everybody streams from the leader, whose gate is open and whose policy is the one
    /// that is wanted.
    pub fn is_whole(&self) -> bool {
        let record = &self.world.store.record.value;
        let Some(leader) = record
            .leader
            .as_ref()
            .map(|name| self.world.herd.host(name))
        else {
            return false;
        };
        let server = self.world.server(leader);
        let streams =
            |host: &HostId| *host == leader || self.world.server(*host).receives() == Some(leader);
        let [published] = record.policies.as_slice() else {
            return false;
        };
        let wanted = attainable(record, &published.leader, |_| true);
        let enforced = Enforced::Policy(published.policy.clone());
        self.world.store.loss.is_none()
            && server.primary().is_some()
            && server.gate == Gate::Open
            && *server.setting == Setting::of(&enforced, &self.world.herd)
            && self.world.herd.hosts().all(|host| streams(&host))
            && record.mode == manada_core::record::Mode::Automatic
            && wanted.as_ref() == Some(&published.policy)
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{now:>12.3?} {}", what()));
        }
    }
}

/// Puts a moment off, if that one is later.
fn later(moment: &mut Duration, other: Duration) {
    *moment = other.max(*moment);
}
