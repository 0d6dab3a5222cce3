//! What the store tells, and what the node remembers should the store forget it.

use manada_core::input::{Command, Input, StoreState};
use manada_core::obstacle::Obstacle;
use manada_store::Change;

use super::Daemon;
use crate::clock;
use crate::memory::Memory;
use crate::orders::CONNECTED_WITHIN;
use crate::peers::Book;
use crate::wording;

impl Daemon {
    pub(super) fn take_change(&mut self, change: Change) {
        match change {
            Change::Record(record) => {
                self.lookout.see(Some(record.clone()));
                if !self.lookout.is_behind(&self.core) {
                    self.hear(Input::Record(record));
                    self.admit_members();
                }
            }
            Change::RecordGone => self.lookout.see(None),
            Change::Lease(lease) => {
                let now = clock::now();
                let ahead = lease.holds_for.saturating_sub(CONNECTED_WITHIN);
                self.probe_due = Some(now + ahead);
                self.hands.probe.forget();
                self.lease = Some((lease.clone(), now));
                self.hear(Input::Lease(lease));
            }
            Change::Contact(contact) => {
                self.book.insert(contact.name.clone(), contact);
                self.share_book();
            }
            // A store that was emptied says nothing of who has left.
            Change::ContactGone(name) if name == self.own.name || self.lookout.has_record() => {
                self.book.remove(&name);
                self.share_book();
            }
            Change::ContactGone(_) => {}
            Change::Reachable => {
                tracing::info!("the store answers");
                self.store_said = None;
                let state = self.lookout.judge(&self.core);
                self.store_is(state);
                self.share_book();
            }
            Change::Unreachable(error) => {
                self.store_said = error.refusal();
                let obstacle = self.in_the_stores_words(Obstacle::StoreUnreachable);
                let next = wording::remedy(&obstacle);
                let error = crate::orders::with_causes(&error);
                tracing::warn!(error, next, "{}", wording::obstacle(&obstacle));
                self.store_is(StoreState::Unreachable);
            }
        }
    }

    /// Why that command would come to nothing.
    pub(super) fn objection_to(&self, command: &Command) -> Option<Obstacle> {
        let objection = self.core.objection(command);
        objection.map(|objection| self.in_the_stores_words(objection))
    }

    /// With what the store itself has said, where it has.
    pub(super) fn in_the_stores_words(&self, obstacle: Obstacle) -> Obstacle {
        match (&self.store_said, obstacle) {
            (Some(said), Obstacle::StoreUnreachable | Obstacle::StoreRefuses { .. }) => {
                Obstacle::StoreRefuses {
                    said: Some(said.clone()),
                }
            }
            (_, obstacle) => obstacle,
        }
    }

    fn store_is(&mut self, state: StoreState) {
        self.store = state;
        self.hear(Input::Store(state));
    }

    /// Sees whether the store has lost the record, or has it again.
    pub(super) fn look_for_loss(&mut self) {
        if self.store == StoreState::Unreachable {
            return;
        }
        let state = self.lookout.judge(&self.core);
        if state != self.store {
            match self.lookout.loss() {
                Some(loss) => tracing::error!("{}", wording::loss(&loss)),
                None => tracing::info!("the store has the herd's record again"),
            }
            self.store_is(state);
        }
        if self.lookout.loss().is_some() {
            self.resume();
        }
    }

    /// Goes by what is remembered, as far as that leaves everything as it is.
    fn resume(&mut self) {
        let Some(memory) = self.lookout.remembered(&self.core) else {
            return;
        };
        let unknown = memory.book.iter();
        let unknown = unknown.filter(|(name, _)| !self.book.contains_key(*name));
        let unknown: Book = unknown.map(|(k, v)| (k.clone(), v.clone())).collect();
        if !unknown.is_empty() {
            self.book.extend(unknown);
            self.share_book();
        }
        let server = self.server.as_ref().map(|(facts, _)| facts);
        if let Some(record) = server.and_then(|facts| self.lookout.resumed(&self.core, facts)) {
            tracing::warn!(
                epoch = %record.value.epoch,
                "this node goes on by what it remembers of the herd"
            );
            self.hear(Input::Record(record));
        }
    }

    pub(super) fn share_book(&mut self) {
        self.noted = None;
        self.voices.book.send_replace(self.book.clone());
        let own_is_right = self.book.get(&self.own.name) == Some(&self.own);
        if self.store != StoreState::Unreachable && !own_is_right {
            self.voices.register.send_replace(self.own.clone());
        }
        self.admit_members();
    }

    /// Has what is known written down, if it has changed.
    pub(super) fn remember(&mut self) {
        let Some(record) = self.core.record() else {
            return;
        };
        if self.noted == Some(record.order()) {
            return;
        }
        self.noted = Some(record.order());
        let (record, book) = (record.clone(), self.book.clone());
        self.voices
            .memory
            .send_replace(Some(Memory { record, book }));
    }
}
