//! What agents do to their servers when the core orders it.

use manada_core::action::{Order, Rung, Stop};
use manada_core::input::Outcome;
use manada_core::server::Gate;
use manada_core::timer::Moment;

use super::agent::Execution;
use super::ledger::Violation;
use super::server::{Run, Setting};
use super::wal::{self, Entry};
use super::{HostId, World};

impl World {
    /// Whether the order at the head of the queue can come to its end now: a policy is in force
    /// only once everybody has read it.
    pub fn order_is_ready(&self, host: HostId) -> bool {
        let Some(agent) = self.agent(host) else {
            return false;
        };
        match agent.server.front().map(|action| &action.order) {
            None => false,
            Some(Order::Enforce(_)) => agent.begun && self.server(host).is_in_force(),
            Some(_) => true,
        }
    }

    /// Whether the order at the head of the queue takes time, and has not begun.
    pub fn order_can_begin(&self, host: HostId) -> bool {
        self.agent(host).is_some_and(|agent| {
            let first = agent.server.front();
            !agent.begun && first.is_some_and(|action| matches!(action.order, Order::Enforce(_)))
        })
    }

    /// Whether the order at the head of the queue fetches WAL from a node that may not lead.
    pub fn fetches(&self, host: HostId) -> bool {
        let order = self.agent(host).and_then(|agent| agent.server.front());
        order.is_some_and(|action| matches!(action.order, Order::FetchWal { .. }))
    }

    /// Begins what takes time: the setting is written, and the server reloads.
    pub fn begin_order(&mut self, host: HostId) {
        let order = self.agent(host).and_then(|agent| agent.server.front());
        let Some(Order::Enforce(enforced)) = order.map(|action| action.order.clone()) else {
            return;
        };
        if let Some(agent) = &mut self.host_mut(host).agent {
            agent.make_mut().begun = true;
        }
        if self.server(host).primary().is_some() {
            let setting = Setting::of(&enforced, &self.herd);
            self.server_mut(host).set(setting);
            self.check_enforcing(host);
        }
    }

    /// The first of the orders about the server is carried out, and its outcome told.
    pub fn carry_out(&mut self, host: HostId, execution: Execution, now: Moment) {
        if execution == Execution::Succeeds && !self.order_is_ready(host) {
            return;
        }
        let Some(action) = self.take(host, |agent| &mut agent.server) else {
            return;
        };
        if let Some(agent) = &mut self.host_mut(host).agent {
            agent.make_mut().begun = false;
        }
        let outcome = match execution {
            Execution::Succeeds => self.obey(host, action.order),
            Execution::Fails => Outcome::Failed,
        };
        self.look(host, now);
        self.done(host, action.id, outcome, now);
    }

    fn obey(&mut self, host: HostId, order: Order) -> Outcome {
        let done = match order {
            Order::StartStandby { follow } => {
                let follow = follow.map(|name| self.herd.host(&name));
                self.start_standby(host, follow)
            }
            Order::StartPrimary => self.start_primary(host),
            Order::Stop(stop) => self.stop(host, stop),
            Order::StopReceiving => self.follow(host, None),
            Order::Follow { leader } => {
                let leader = self.herd.host(&leader);
                self.follow(host, Some(leader))
            }
            Order::Promote => self.promote(host),
            Order::WriteRule(rule) => {
                if self.server(host).primary().is_none() {
                    return Outcome::Failed;
                }
                self.check_rule(host, &rule);
                let leader = self.herd.host(&rule.leader);
                let mark = self
                    .server_mut(host)
                    .wal
                    .append(Entry::Rule(rule.id, leader));
                return Outcome::RuleWritten {
                    lsn: wal::lsn(mark.length),
                };
            }
            // The effect is the beginning's; the end is that it was seen to be in force.
            Order::Enforce(_) => self.server(host).primary().is_some(),
            Order::SetGate(gate) => self.set_gate(host, gate),
            Order::Rejoin {
                leader,
                diverged_at,
                rung,
            } => {
                let leader = self.herd.host(&leader);
                let diverged_at = diverged_at.and_then(|lsn| usize::try_from(lsn.0).ok());
                self.rejoin(host, leader, rung, diverged_at)
            }
            Order::FetchWal { from, upto } => {
                let from = self.herd.host(&from);
                self.fetch(host, from, upto.0)
            }
            Order::Checkpoint => true,
            Order::Deadman { .. }
            | Order::Swap { .. }
            | Order::RenewLease { .. }
            | Order::Promise(_)
            | Order::Send { .. }
            | Order::ProbeLeader { .. } => false,
        };
        if done { Outcome::Done } else { Outcome::Failed }
    }

    fn start_standby(&mut self, host: HostId, follow: Option<HostId>) -> bool {
        match self.server(host).run {
            Run::Stopped => {
                self.server_mut(host).start_standby(follow);
                true
            }
            Run::Standby { .. } => self.follow(host, follow),
            Run::Primary(_) => false,
        }
    }

    fn start_primary(&mut self, host: HostId) -> bool {
        let server = self.server(host);
        let can = server.run == Run::Stopped && !server.standby_signal;
        if can {
            let stamp = self.next_stamp(host);
            self.server_mut(host).become_primary(stamp);
        }
        can
    }

    /// Stops a server. A clean stop waits until all who stream have everything.
    pub(super) fn stop(&mut self, host: HostId, stop: Stop) -> bool {
        if self.server(host).run == Run::Stopped {
            return true;
        }
        self.detach(host);
        let standbys = self.receivers_of(host);
        if stop == Stop::Fast && standbys.iter().any(|standby| !self.linked(host, *standby)) {
            return false;
        }
        let unknown = match stop {
            Stop::Fast => {
                let stamp = self.next_stamp(host);
                self.server_mut(host).shut_down(stamp)
            }
            Stop::Immediate => self.server_mut(host).kill(),
        };
        if stop == Stop::Fast {
            let source = self.host(host).server.clone();
            for standby in &standbys {
                let server = self.server_mut(*standby);
                server.wal.receive(&source.wal, usize::MAX);
                server.replayed = server.wal.length();
            }
        }
        for standby in standbys {
            self.server_mut(standby).run = Run::Standby { receives: None };
        }
        self.nobody_knows(unknown);
        true
    }

    fn follow(&mut self, host: HostId, leader: Option<HostId>) -> bool {
        match self.server(host).run {
            Run::Primary(_) => return false,
            Run::Stopped => {}
            Run::Standby { .. } => {
                if self.server(host).receives() != leader {
                    self.detach(host);
                }
            }
        }
        self.server_mut(host).follows = leader;
        if let Some(leader) = leader {
            self.check_history(host, leader);
        }
        true
    }

    fn promote(&mut self, host: HostId) -> bool {
        if !matches!(self.server(host).run, Run::Standby { .. }) {
            return false;
        }
        self.detach(host);
        let stamp = self.next_stamp(host);
        let server = self.server_mut(host);
        server.wal.branch();
        server.become_primary(stamp);
        self.check_leader();
        true
    }

    fn set_gate(&mut self, host: HostId, gate: Gate) -> bool {
        self.server_mut(host).gate = gate;
        let Some(primary) = self.server(host).primary() else {
            return true;
        };
        if gate == Gate::Open {
            let end = primary.recovery_end;
            self.check_opening(host, end);
            self.show(host, end);
            self.archive(host);
        }
        true
    }

    fn rejoin(
        &mut self,
        host: HostId,
        leader: HostId,
        rung: Rung,
        diverged_at: Option<usize>,
    ) -> bool {
        if self.server(leader).primary().is_none() || !self.linked(host, leader) {
            return false;
        }
        self.crash_server(host);
        let source = self.server(leader).wal.clone();
        if rung == Rung::Rewind {
            let fork = self.server(host).wal.fork(&source);
            let judged = fork.is_some_and(|fork| diverged_at.is_none_or(|at| fork <= at));
            if !judged {
                return false;
            }
            let kept = fork.map(|fork| self.server(host).wal.mark_at(fork));
            if kept.is_some_and(|kept| !source.contains(kept)) {
                self.ledger.make_mut().violated(Violation::ForeignWal {
                    standby: host,
                    leader,
                });
            }
        }
        let server = self.server_mut(host);
        server.wal = source;
        server.start_standby(Some(leader));
        true
    }

    fn fetch(&mut self, host: HostId, from: HostId, upto: u64) -> bool {
        let source = self.host(from).server.clone();
        let upto = usize::try_from(upto).unwrap_or(usize::MAX);
        let server = self.server(host);
        let can = matches!(server.run, Run::Standby { .. })
            && source.wal.contains(server.wal.end())
            && source.wal.length() >= upto
            && self.linked(host, from);
        if can {
            let entries = upto.saturating_sub(server.wal.length());
            let server = self.server_mut(host);
            server.wal.receive(&source.wal, entries);
            server.replayed = server.wal.length();
        }
        can
    }
}
