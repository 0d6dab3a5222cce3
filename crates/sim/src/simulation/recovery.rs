//! A store that loses the herd's record, what agents make of it, and the operator who has them take
//! the herd up again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use manada_core::input::StoreState;
use manada_core::record::{MemberRole, Record, Versioned};
use manada_core::recover::{Hearing, Testimony, Way, is_lost, recover};

use super::events::Simulation;
use super::happening::Happening;
use super::queue::Event;
use crate::world::HostId;

/// How long the store must have been behind what an agent knows before it takes the record for lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

impl Simulation {
    /// The store is emptied, or has the record of so many changes ago: one that every node has seen
    /// replaced, as a copy of the store is from before they last looked.
    pub(super) fn lose_record(&mut self, age: Option<usize>) {
        let mut found = None;
        if let Some(age) = age {
            let hosts = self.world.herd.hosts();
            let known = hosts.map(|host| self.memory(host).map(Versioned::order));
            let oldest_known = known.min().flatten();
            let mut copies = self.world.store.former.iter().rev().skip(age - 1);
            found = copies.find(|copy| Some(copy.order()) < oldest_known);
            if found.is_none() {
                return;
            }
        }
        let found = found.cloned();
        self.world.store.make_mut().lose(found);
        self.store_seen_soon();
    }

    /// What an agent knows is written down.
    pub(super) fn remember(&mut self, host: HostId) {
        let Some(known) = self.world.agent(host).and_then(|agent| agent.core.record()) else {
            return;
        };
        let machine = &mut self.machines[usize::from(host.0)];
        let remembered = machine.memory.as_ref();
        if remembered.is_none_or(|remembered| remembered.order() < known.order()) {
            machine.memory = Some(Arc::new(known.clone()));
        }
    }

    /// Whether the store has less than what this host knows.
    pub(super) fn is_behind(&self, host: HostId) -> bool {
        self.is_less_than_known(host, self.world.store.found())
    }

    /// Whether what a read of the store finds is less than what this host knows.
    pub(super) fn is_less_than_known(
        &self,
        host: HostId,
        found: Option<&Versioned<Record>>,
    ) -> bool {
        let promised = self.world.host(host).promise.epoch;
        is_lost(found, self.memory(host), promised)
    }

    fn memory(&self, host: HostId) -> Option<&Versioned<Record>> {
        self.machines[usize::from(host.0)].memory.as_deref()
    }

    /// What the store is for an agent.
    pub(super) fn judge_store(&mut self, host: HostId) -> StoreState {
        if !self.reaches_store(host) {
            return StoreState::Unreachable;
        }
        let now = self.now;
        if !self.is_behind(host) {
            self.machine(host).behind_since = None;
            return StoreState::Reachable;
        }
        let since = *self.machine(host).behind_since.get_or_insert(now);
        if now < since + LOST_AFTER {
            self.at(since + LOST_AFTER - now, Event::StoreSeen(host));
            return StoreState::Reachable;
        }
        StoreState::RecordLost
    }

    /// An operator wants the herd to be taken up again, if the store has lost its record. Nothing
    /// comes of it where somebody is not heard.
    pub(super) fn recover(&mut self) {
        if self.world.store.loss.is_none() {
            return;
        }
        let herd = self.world.herd.clone();
        let calls = |host: &HostId| {
            let role = herd.roles[usize::from(host.0)];
            matches!(role, MemberRole::Server { .. }) && self.reaches_store(*host)
        };
        let Some(coordinator) = herd.hosts().find(calls) else {
            return;
        };
        let heard: BTreeMap<_, _> = herd
            .hosts()
            .filter(|host| self.world.linked(coordinator, *host))
            .filter_map(|host| Some((herd.name(host).clone(), self.testimony(host)?)))
            .collect();
        let recovery = recover(&Hearing {
            found: self.world.store.found(),
            heard: &heard,
            without: &BTreeSet::new(),
            accept_loss: false,
            coordinator: herd.name(coordinator),
        });
        self.note(|| format!("recovers: {recovery:?}"));
        let Ok(recovery) = recovery else {
            return;
        };
        self.counts.add(match recovery.way {
            Way::GoesOn { .. } => Happening::RecoveredAtOnce,
            Way::Election { .. } => Happening::RecoveredByElection,
        });
        self.world.store.make_mut().recover(recovery.record);
        self.store_seen_soon();
        self.tell_of_record();
    }

    /// What an agent that answers knows of the herd.
    fn testimony(&self, host: HostId) -> Option<Testimony> {
        let machine = &self.machines[usize::from(host.0)];
        if machine.stands_until.max(machine.agent_stands_until) > self.now {
            return None;
        }
        let core = &self.world.agent(host)?.core;
        let known = core.record();
        let is_newer = |on_disk: &&Versioned<Record>| {
            known.is_none_or(|known| known.order() < on_disk.order())
        };
        Some(Testimony::of(
            core.promise().epoch,
            known,
            self.memory(host).filter(is_newer),
            core.confirmed(),
            Some(&self.world.facts(host)),
        ))
    }
}
