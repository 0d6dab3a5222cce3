//! What follows for the invariants from what clients are told and shown.

use manada_core::position::Epoch;
use manada_core::server::Enforced;

use super::ledger::{Fate, Violation, Written};
use super::server::Setting;
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
        let published = record.policies.iter().any(|published| {
            published.leader == *self.herd.name(by) && !published.policy.is_synchronous()
        });
        let successor = record.leader.as_ref().map(|name| self.herd.host(name));
        let successor = successor.map(|leader| self.server(leader).wal.clone());
        let ledger = self.ledger.make_mut();
        for id in writes {
            let written = ledger.get_mut(id);
            written.fate = fate;
            // An answer that was under way may come late: its standby had the commit before it was
            // recruited.
            let mark = written.mark;
            let kept = successor.as_ref().is_some_and(|wal| wal.contains(mark));
            match fate {
                Fate::Acknowledged if fenced && !kept => {
                    ledger.violated(Violation::AcknowledgedTooLate { by, write: id });
                }
                Fate::Unguarded if !published && !fenced => {
                    ledger.violated(Violation::UnpublishedPolicy(by));
                }
                Fate::Acknowledged | Fate::Unguarded | Fate::Waiting | Fate::Unknown => {}
            }
        }
        self.check_leader();
    }

    /// The epoch in which a primary acknowledges.
    fn reign(&self, host: HostId) -> Epoch {
        let host = self.host(host);
        host.promise.led.unwrap_or(host.server.wal.rule().epoch)
    }

    /// Clients see through the open gate what survived the last recovery.
    pub(super) fn show(&mut self, host: HostId, end: usize) {
        let guarded = !self
            .store
            .record
            .value
            .policies
            .iter()
            .any(|published| !published.policy.is_synchronous());
        if !guarded {
            return;
        }
        let wal = self.server(host).wal.clone();
        for written in &mut self.ledger.make_mut().writes {
            if written.mark.length <= end && wal.contains(written.mark) {
                written.shown = true;
            }
        }
        self.check_leader();
    }

    /// A server whose gate is open archives what it has.
    pub(super) fn archive(&mut self, host: HostId) {
        let wal = self.server(host).wal.clone();
        let key = (wal.timeline(), wal.length());
        let ledger = self.ledger.make_mut();
        if *ledger.archive.entry(key).or_insert(wal.end()) != wal.end() {
            ledger.violated(Violation::ArchivedTwice(host));
        }
    }

    /// Whether the server of the record's leader has everything that clients rely on.
    pub(super) fn check_leader(&mut self) {
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
        let lacks = |(_, written): &(WriteId, &Written)| {
            (written.fate == Fate::Acknowledged || written.shown) && !wal.contains(written.mark)
        };
        let found = self.ledger.iter().find(lacks);
        let violation = found.map(|(write, written)| match written.fate {
            Fate::Acknowledged => Violation::LostWrite { leader, write },
            Fate::Unguarded | Fate::Waiting | Fate::Unknown => {
                Violation::LostSight { leader, write }
            }
        });
        if let Some(violation) = violation {
            self.ledger.make_mut().violated(violation);
        }
    }

    /// Whether a leader whose policies count has commits wait for something else (I4).
    pub fn waits_for_unpublished(&self) -> Option<HostId> {
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
            let known =
                |setting: &Setting| *setting == Setting::Nobody || published.contains(setting);
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
