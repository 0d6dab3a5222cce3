//! Brings a fault about, and ends it.

use std::time::Duration;

use manada_core::input::Input;

use super::events::Simulation;
use super::fault::Fault;
use crate::world::HostId;

impl Simulation {
    /// A fault begins.
    pub fn begin_fault(&mut self, fault: &Fault) {
        let now = self.moment();
        self.note(|| format!("begins {fault:?}"));
        match fault {
            Fault::KillServer(host) => self.world.crash_server(*host),
            Fault::KillAgent(host) => {
                if !self.machine(*host).off {
                    self.start_agent(*host);
                }
            }
            Fault::PowerLoss(host, _) => {
                self.end_agent(*host);
                self.world.crash_host(*host);
                self.machine(*host).off = true;
            }
            Fault::Stall(host, time) => self.machine(*host).stands_until = now.0 + *time,
            Fault::PauseAgent(host, time) => {
                self.machine(*host).agent_stands_until = now.0 + *time;
            }
            Fault::ClockStands(host, time) => {
                self.machine(*host).clock_stands_until = now.0 + *time;
            }
            Fault::Isolate(host, _) => {
                self.machine(*host).store_unreachable = true;
                for other in self.world.herd.hosts() {
                    self.world.cut.insert((*host, other));
                    self.world.cut.insert((other, *host));
                }
                self.store_seen_soon();
            }
            Fault::OneWay(from, to, _) => {
                self.world.cut.insert((*from, *to));
            }
            Fault::StoreLoss(_) => {
                self.store_lost = true;
                self.store_seen_soon();
            }
            Fault::StoreUnreachable(host, _) => {
                self.machine(*host).store_unreachable = true;
                self.store_seen_soon();
            }
            Fault::StoreDoubtful(_) => self.store_doubtful = true,
            Fault::OrdersFail(host, time) => {
                self.machine(*host).orders_fail_until = now.0 + *time;
            }
            Fault::Cancel(host) => self.world.cancel(*host),
            Fault::Command(host, command) => {
                self.world.feed(*host, Input::Command(command.clone()), now);
                self.follow_up(*host);
            }
        }
        self.news_of_servers();
    }

    /// What of it lasted ends.
    pub fn end_fault(&mut self, fault: &Fault) {
        self.note(|| format!("ends {fault:?}"));
        match fault {
            Fault::PowerLoss(host, _) => {
                if std::mem::take(&mut self.machine(*host).off) {
                    self.start_agent(*host);
                }
            }
            Fault::Isolate(host, _) => {
                self.machine(*host).store_unreachable = false;
                self.world
                    .cut
                    .retain(|(from, to)| from != host && to != host);
                self.store_seen_soon();
            }
            Fault::OneWay(from, to, _) => {
                self.world.cut.remove(&(*from, *to));
            }
            Fault::StoreLoss(_) => {
                self.store_lost = false;
                self.store_seen_soon();
            }
            Fault::StoreUnreachable(host, _) => {
                self.machine(*host).store_unreachable = false;
                self.store_seen_soon();
            }
            Fault::StoreDoubtful(_) => {
                self.store_doubtful = false;
                self.store_seen_soon();
            }
            Fault::KillServer(_)
            | Fault::KillAgent(_)
            | Fault::Stall(..)
            | Fault::PauseAgent(..)
            | Fault::ClockStands(..)
            | Fault::OrdersFail(..)
            | Fault::Cancel(_)
            | Fault::Command(..) => {}
        }
        self.news_of_servers();
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
        let others = record.members.len() - 1;
        let streams =
            |host: &HostId| *host == leader || self.world.server(*host).receives() == Some(leader);
        let [published] = record.policies.as_slice() else {
            return false;
        };
        let policy = &published.policy;
        let wanted = policy.count == record.desired.count
            && (policy.count == 0 || policy.standbys.len() == others);
        server.primary().is_some()
            && server.gate == manada_core::server::Gate::Open
            && self.world.herd.hosts().all(|host| streams(&host))
            && wanted
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{now:>12.3?} {}", what()));
        }
    }
}
