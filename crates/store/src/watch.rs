//! What changes in the store, as it changes.

use manada_core::lease::Lease;
use manada_core::record::{Record, Versioned};
use manada_model::NodeName;
use tokio::sync::mpsc;

use crate::contact::Contact;
use crate::error::StoreError;
use crate::store::Snapshot;

/// How many changes wait for whoever watches; then the watcher waits too.
const CHANGES_MAX: usize = 64;

/// The changes of a herd's store; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Change>,
}

/// Something that is so now.
#[derive(Debug)]
pub enum Change {
    /// The record is this.
    Record(Versioned<Record>),
    /// The record is gone: somebody has emptied the store.
    RecordGone,
    /// The lease is this.
    Lease(Lease),
    /// A node is to be found here.
    Contact(Contact),
    /// A node is not in the address book any more.
    ContactGone(NodeName),
    /// The store answers, and all that it holds has been told.
    Reachable,
    /// It does not. Said once, until it answers again, or refuses with other words.
    Unreachable(StoreError),
}

/// Where an engine's watcher tells what it sees.
pub(crate) struct Watcher {
    changes: mpsc::Sender<Change>,
    seen: Snapshot,
    reachable: Option<bool>,
    /// The refusal that was told last.
    refusal: Option<String>,
}

/// Nobody watches any more.
pub(crate) struct Unwatched;

impl Watch {
    pub(crate) fn new() -> (Watcher, Watch) {
        let (sender, receiver) = mpsc::channel(CHANGES_MAX);
        let watcher = Watcher {
            changes: sender,
            seen: Snapshot::default(),
            reachable: None,
            refusal: None,
        };
        (watcher, Watch { changes: receiver })
    }

    /// The next change. It is waited for as long as it takes. `None` never comes while the
    /// runtime lives.
    pub async fn next(&mut self) -> Option<Change> {
        self.changes.recv().await
    }
}

impl Watcher {
    /// Tells how this differs from what was told before.
    pub(crate) async fn tell(&mut self, now: Snapshot) -> Result<(), Unwatched> {
        for change in differences(&self.seen, &now) {
            self.send(change).await?;
        }
        self.seen = now;
        if self.reachable != Some(true) {
            self.reachable = Some(true);
            self.send(Change::Reachable).await?;
        }
        Ok(())
    }

    /// Tells that the store does not answer, unless that is known.
    pub(crate) async fn tell_unreachable(&mut self, error: StoreError) -> Result<(), Unwatched> {
        let refusal = error.refusal();
        let news = refusal.is_some() && refusal != self.refusal;
        if self.reachable == Some(false) && !news {
            return Ok(());
        }
        self.reachable = Some(false);
        self.refusal = refusal;
        self.send(Change::Unreachable(error)).await
    }

    /// Comes once nobody watches any more.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let changes = self.changes.clone();
        async move { changes.closed().await }
    }

    /// Whether nobody watches any more.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.changes.is_closed()
    }

    async fn send(&self, change: Change) -> Result<(), Unwatched> {
        self.changes.send(change).await.map_err(|_| Unwatched)
    }
}

fn differences(before: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.record != now.record {
        changes.push(match &now.record {
            Some(record) => Change::Record(record.clone()),
            None => Change::RecordGone,
        });
    }
    if let Some(lease) = &now.lease
        && before.lease.as_ref() != Some(lease)
    {
        changes.push(Change::Lease(lease.clone()));
    }
    for (name, contact) in &now.book {
        if before.book.get(name) != Some(contact) {
            changes.push(Change::Contact(contact.clone()));
        }
    }
    for name in before.book.keys() {
        if !now.book.contains_key(name) {
            changes.push(Change::ContactGone(name.clone()));
        }
    }
    changes
}
