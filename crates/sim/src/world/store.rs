//! The store: a record that is swapped, and a lease.

use std::collections::VecDeque;

use manada_core::lease::Lease;
use manada_core::record::{Record, Revision, Versioned};

/// How many records a stale read may be behind.
const FORMER_MAX: usize = 8;

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The record.
    pub record: Versioned<Record>,
    /// Those before, oldest first: a read may be stale.
    pub former: VecDeque<Versioned<Record>>,
    /// The last sign of life.
    pub lease: Option<Lease>,
    /// Swaps whose outcome is not known, and which may still happen.
    pub late: Vec<Swap>,
}

/// A request to swap the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Swap {
    /// What is there.
    pub expected: Revision,
    /// What shall be there.
    pub record: Record,
    /// Whether its leader was chosen although it may lack what was acknowledged.
    pub accepts_loss: bool,
}

/// How a request to the store can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreFault {
    /// As it should.
    None,
    /// It was carried out, and the answer is lost.
    AnswerLost,
    /// It was not carried out, or not yet, and the answer is lost.
    RequestLate,
    /// It did not reach the store.
    RequestLost,
}

impl Store {
    /// The first record.
    pub fn new(record: Record) -> Store {
        Store {
            record: Versioned {
                revision: Revision(1),
                value: record,
            },
            former: VecDeque::new(),
            lease: None,
            late: Vec::new(),
        }
    }

    /// Compares and swaps.
    pub fn swap(&mut self, expected: Revision, record: Record) -> bool {
        let matches = self.record.revision == expected;
        if matches {
            let next = Versioned {
                revision: Revision(expected.0 + 1),
                value: record,
            };
            let former = std::mem::replace(&mut self.record, next);
            self.former.push_back(former);
            if self.former.len() > FORMER_MAX {
                self.former.pop_front();
            }
        }
        matches
    }

    /// A sign of life, if the record is still that one.
    pub fn renew(&mut self, expected: Revision, lease: Lease) -> bool {
        let matches = self.record.revision == expected;
        if matches {
            let beat = self.lease.as_ref().map_or(0, |former| former.beat + 1);
            self.lease = Some(Lease { beat, ..lease });
        }
        matches
    }
}
