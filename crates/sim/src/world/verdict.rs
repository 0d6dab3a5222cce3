//! What follows for the invariants from what clients are told and shown.

use std::collections::BTreeSet;

use manada_core::loss::LossBound;
use manada_core::policy::Published;
use manada_core::position::{Epoch, Rule};
use manada_core::record::{MemberRole, Record};
use manada_core::server::{Enforced, Gate};
use manada_model::NodeName;

use super::ledger::{Fate, Violation};
use super::server::{Run, Server, Setting};
use super::wal::WriteId;
use super::{HostId, World};

impl World {
    pub(super) fn acknowledged(&mut self, by: HostId, writes: Vec<WriteId>, fate: Fate) {
        if writes.is_empty() {
            return;
        }
        let record = &self.store.record.value;
        let epoch = self.reign(by);
        let fenced = record.leader.is_some() && record.epoch > epoch;
        let given_up = epoch < self.ledger.given_up_before;
        let published = record.policies.iter().any(|published| {
            published.leader == *self.herd.name(by) && !published.policy.is_synchronous()
        });
        let successor = record.leader.as_ref().map(|name| self.herd.host(name));
        // Shared, not copied: nothing below changes a server.
        let successor = successor.map(|leader| self.host(leader).server.clone());
        let ruled = self.quorum_of_any(by, |server| server.wal.rule().epoch >= epoch);
        let ledger = self.ledger.make_mut();
        for id in &writes {
            let id = *id;
            let written = ledger.get_mut(id);
            written.fate = fate;
            // An answer that was under way may come late: its standby had the commit before it was
            // recruited.
            let mark = written.mark;
            let kept = successor
                .as_ref()
                .is_some_and(|server| server.wal.contains(mark));
            match fate {
                Fate::Acknowledged if given_up && !kept => written.fate = Fate::GivenUp,
                Fate::Acknowledged if fenced && !kept => {
                    ledger.violated(Violation::AcknowledgedTooLate { by, write: id });
                }
                Fate::Acknowledged if !fenced && !ruled => {
                    ledger.violated(Violation::AcknowledgedWithoutRule { by, write: id });
                }
                Fate::Unguarded if !published && !fenced => {
                    ledger.violated(Violation::UnpublishedPolicy(by));
                }
                // Nothing but time fences it: that is its bound.
                Fate::Unguarded if fenced => {
                    ledger.violated(Violation::AcknowledgedTooLate { by, write: id });
                }
                Fate::Acknowledged
                | Fate::Unguarded
                | Fate::Waiting
                | Fate::Unknown
                | Fate::GivenUp => {}
            }
        }
        self.check_writes(writes);
    }

    /// The epoch in which a primary acknowledges.
    fn reign(&self, host: HostId) -> Epoch {
        let host = self.host(host);
        host.promise.led.unwrap_or(host.server.wal.rule().epoch)
    }

    /// Whether as many of the names that a primary's commits wait for as it needs are so.
    fn quorum(&self, of: HostId, has: impl Fn(&Server) -> bool) -> bool {
        self.quorum_by(&self.server(of).setting, &has)
    }

    /// The same as one of its walsenders sees it, which may not have read the settings again: it
    /// lets commits go by its own copy.
    fn quorum_of_any(&self, of: HostId, has: impl Fn(&Server) -> bool) -> bool {
        let walsenders = self.server(of).primary().into_iter().flat_map(|primary| {
            let senders = primary.walsenders.values();
            senders.filter(|sender| matches!(*sender.setting, Setting::Names { .. }))
        });
        let mut copies = walsenders.map(|sender| &*sender.setting);
        self.quorum(of, &has) || copies.any(|copy| self.quorum_by(copy, &has))
    }

    fn quorum_by(&self, setting: &Setting, has: &impl Fn(&Server) -> bool) -> bool {
        match setting {
            Setting::Empty | Setting::Nobody => true,
            Setting::Names { count, names, .. } => {
                let have = names.iter().filter(|name| has(self.server(**name)));
                have.count() >= *count
            }
        }
    }

    /// A recruit's answer: what it promises is durable, and its WAL has come to its end (I3, I6).
    pub(super) fn check_answer(&mut self, from: HostId, epoch: Epoch) {
        let grows = match self.server(from).run {
            Run::Stopped => false,
            Run::Standby { receives } => receives.is_some() || self.server(from).follows.is_some(),
            Run::Primary(_) => true,
        };
        if self.host(from).promise.epoch < epoch {
            self.ledger
                .make_mut()
                .violated(Violation::BrokenPromise(from));
        }
        if grows {
            self.ledger
                .make_mut()
                .violated(Violation::SpokeTooSoon(from));
        }
    }

    /// A node is told to receive: from nobody whose epoch it has promised to be over (I3).
    pub(super) fn check_following(&mut self, standby: HostId, leader: HostId) {
        if self.ledger.last_reign_of(leader) < Some(self.host(standby).promise.epoch) {
            self.ledger
                .make_mut()
                .violated(Violation::FollowsBelowPromise(standby));
        }
    }

    /// A node is told to follow: its WAL is a part of its leader's, where that one has begun (I8).
    pub(super) fn check_history(&mut self, standby: HostId, leader: HostId) {
        let epoch = self.store.record.value.epoch;
        let source = &self.server(leader).wal;
        let end = self.server(standby).wal.end();
        let begun = self.server(leader).primary().is_some() && source.rule().epoch == epoch;
        if begun && source.length() >= end.length && !source.contains(end) {
            self.ledger
                .make_mut()
                .violated(Violation::ForeignWal { standby, leader });
        }
    }

    /// A gate opens: as many have what can be seen as commits wait for (I5).
    pub(super) fn check_opening(&mut self, host: HostId, end: usize) {
        let seen = self.server(host).wal.mark_at(end);
        if !self.quorum(host, |server| server.wal.contains(seen)) {
            self.ledger
                .make_mut()
                .violated(Violation::OpenedTooSoon(host));
        }
    }

    /// The record was swapped for one with a leader: who may lead leads, what is no longer
    /// published has a successor whose rule is where it must be, and no more is given up than is
    /// allowed (I1, I2, I4).
    pub(super) fn check_swap(&mut self, former: &Record, leader: HostId, accepts_loss: bool) {
        let record = self.store.record.value.clone();
        let role = record.members.get(self.herd.name(leader));
        if !matches!(role, Some(MemberRole::Server { priority: 1.. })) {
            self.ledger
                .make_mut()
                .violated(Violation::UnfitLeader(leader));
        }
        if former.leader.is_none() {
            let allowed = self.ledger.make_mut().allowed_loss.take();
            if accepts_loss {
                self.check_loss(former, &record, leader, allowed);
            }
            if !accepts_loss || allowed.is_none() {
                self.check_cover(former, leader);
            }
        }
        let dropped = former.policies.len() > record.policies.len();
        let [published] = record.policies.as_slice() else {
            return;
        };
        if !dropped || !published.policy.is_synchronous() {
            return;
        }
        let ruled = |name: &&NodeName| {
            let wal = &self.server(self.herd.host(name)).wal;
            wal.rule().epoch >= record.epoch
        };
        let have = published.policy.standbys.iter().filter(ruled).count();
        if have < published.policy.count as usize {
            self.ledger
                .make_mut()
                .violated(Violation::UnpublishedTooSoon(leader));
        }
    }

    /// Whether those who have promised cover every policy that can be covered.
    fn check_cover(&mut self, former: &Record, leader: HostId) {
        let promised = |host: &HostId| self.host(*host).promise.epoch >= former.epoch;
        let recruits: BTreeSet<NodeName> = self
            .herd
            .hosts()
            .filter(promised)
            .map(|host| self.herd.name(host).clone())
            .collect();
        let covered = |published: &Published| {
            !published.policy.is_synchronous() || published.is_covered_by(&recruits)
        };
        if !former.policies.iter().all(covered) {
            self.ledger
                .make_mut()
                .violated(Violation::ChosenTooSoon(leader));
        }
    }

    /// How much is known to be given up: by itself, or as an operator allowed.
    fn check_loss(
        &mut self,
        former: &Record,
        record: &Record,
        leader: HostId,
        allowed: Option<LossBound>,
    ) {
        let bound = allowed.unwrap_or(LossBound::Bytes(self.herd.limits.loss_bytes_max));
        if let (Some(lease), Some(reign)) = (&self.store.lease, record.reigns.last()) {
            let bytes = lease.flush_lsn.bytes_since(reign.began_at.flush_lsn);
            let led = former
                .policies
                .iter()
                .any(|published| published.leader == lease.leader);
            let too_many = match bound {
                LossBound::Bytes(most) => bytes > most,
                LossBound::Any => false,
            };
            if led && lease.flush_lsn.is_valid() && too_many {
                self.ledger
                    .make_mut()
                    .violated(Violation::LostTooMuch(leader));
            }
        }
        self.give_up(record.epoch, leader);
    }

    /// What that leader lacks is lost, as was allowed.
    fn give_up(&mut self, epoch: Epoch, leader: HostId) {
        let chosen = self.host(leader).server.clone();
        let ledger = self.ledger.make_mut();
        ledger.given_up_before = epoch;
        // The next promotion may take a timeline id that the lost reign has archived under.
        ledger.archive.retain(|_, mark| chosen.wal.contains(*mark));
        for written in &mut ledger.writes {
            if !chosen.wal.contains(written.mark) {
                written.shown = false;
                if written.fate == Fate::Acknowledged {
                    written.fate = Fate::GivenUp;
                }
            }
        }
    }

    /// A leader whose clients are in writes a rule: it is in force already (I4).
    pub(super) fn check_rule(&mut self, host: HostId, rule: &Rule) {
        let server = self.server(host);
        let said = Setting::of(&Enforced::Policy(rule.policy.clone()), &self.herd);
        let founds = rule.id.sub == 0;
        if server.gate == Gate::Open && !founds && *server.setting != said {
            self.ledger
                .make_mut()
                .violated(Violation::RuleTooSoon(host));
        }
    }

    /// A leader behind its gate lets standbys acknowledge: as many as must have its rule (I1).
    pub(super) fn check_enforcing(&mut self, host: HostId) {
        let epoch = self.reign(host);
        let closed = self.server(host).gate == Gate::Closed;
        if closed && !self.quorum(host, |server| server.wal.rule().epoch >= epoch) {
            self.ledger
                .make_mut()
                .violated(Violation::EnforcedTooSoon(host));
        }
    }

    /// Whether nothing that is acknowledged may be given up.
    fn is_guarded(&self) -> bool {
        let published = &self.store.record.value.policies;
        published
            .iter()
            .all(|published| published.policy.is_synchronous())
    }

    /// Clients see through the open gate what survived the last recovery.
    pub(super) fn show(&mut self, host: HostId, end: usize) {
        if !self.is_guarded() {
            return;
        }
        let server = self.host(host).server.clone();
        for written in &mut self.ledger.make_mut().writes {
            if written.mark.length <= end && server.wal.contains(written.mark) {
                written.shown = true;
            }
        }
        self.check_leader();
    }

    /// A server whose gate is open archives what it has.
    pub(super) fn archive(&mut self, host: HostId) {
        if !self.is_guarded() {
            return;
        }
        let wal = &self.server(host).wal;
        let (key, end) = ((wal.timeline(), wal.length()), wal.end());
        let ledger = self.ledger.make_mut();
        if *ledger.archive.entry(key).or_insert(end) != end {
            ledger.violated(Violation::ArchivedTwice(host));
        }
    }

    /// Whether the server of the record's leader has everything that clients rely on.
    pub(super) fn check_leader(&mut self) {
        self.check_writes((0..self.ledger.next().0).map(WriteId));
    }

    /// Whether the server of the record's leader has what of these clients rely on.
    fn check_writes(&mut self, writes: impl IntoIterator<Item = WriteId>) {
        let record = &self.store.record.value;
        let Some(leader) = record.leader.as_ref().map(|name| self.herd.host(name)) else {
            return;
        };
        if self.server(leader).primary().is_none()
            || self.host(leader).promise.led != Some(record.epoch)
        {
            return;
        }
        let wal = &self.server(leader).wal;
        let lacked = writes.into_iter().find(|write| {
            let written = self.ledger.get(*write);
            (written.fate == Fate::Acknowledged || written.shown) && !wal.contains(written.mark)
        });
        let Some(write) = lacked else {
            return;
        };
        let violation = match self.ledger.get(write).fate {
            Fate::Acknowledged => Violation::LostWrite { leader, write },
            Fate::Unguarded | Fate::Waiting | Fate::Unknown | Fate::GivenUp => {
                Violation::LostSight { leader, write }
            }
        };
        self.ledger.make_mut().violated(violation);
    }

    /// Notes if a leader whose policies count has commits wait for something else (I4).
    pub fn check_policy(&mut self) {
        if let Some(host) = self.waits_for_unpublished() {
            self.ledger
                .make_mut()
                .violated(Violation::UnpublishedPolicy(host));
        }
    }

    /// Whether a leader whose policies count has commits wait for something else (I4).
    fn waits_for_unpublished(&self) -> Option<HostId> {
        let record = &self.store.record.value;
        self.herd.hosts().find(|host| {
            let name = self.herd.name(*host);
            let published: Vec<Setting> = record
                .policies
                .iter()
                .filter(|published| published.leader == *name)
                .map(|published| {
                    Setting::of(&Enforced::Policy(published.policy.clone()), &self.herd)
                })
                .collect();
            // Published as asynchronous, only this leader has what it acknowledges, and a failover
            // needs the leader: whatever its commits wait for besides, nothing of it is lost.
            let relaxed = published.contains(&Setting::Empty);
            let known = |setting: &Setting| {
                relaxed || *setting == Setting::Nobody || published.contains(setting)
            };
            let server = self.server(*host);
            server.primary().is_some_and(|primary| {
                let unknown = !known(&server.setting)
                    || primary
                        .walsenders
                        .values()
                        .any(|sender| !known(&sender.setting))
                    || (!primary.defined && !known(&Setting::Empty));
                !published.is_empty() && unknown
            })
        })
    }
}
