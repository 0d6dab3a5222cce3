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
    /// What it has instead, where it has lost the record.
    pub loss: Option<Loss>,
    /// Swaps whose outcome is not known, and which may still happen.
    pub late: Vec<Swap>,
}

/// A store that has lost the herd's record: it was emptied, or restored to an older one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loss {
    /// The older one.
    pub found: Option<Versioned<Record>>,
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
            loss: None,
            late: Vec::new(),
        }
    }

    /// What a read finds.
    pub fn found(&self) -> Option<&Versioned<Record>> {
        match &self.loss {
            None => Some(&self.record),
            Some(loss) => loss.found.as_ref(),
        }
    }

    fn has(&self, expected: Revision) -> bool {
        self.found().is_some_and(|found| found.revision == expected)
    }

    /// Compares and swaps. In a store that was restored, this begins another history.
    pub fn swap(&mut self, expected: Revision, record: Record) -> bool {
        let matches = self.has(expected);
        if matches {
            self.put(Revision(expected.0 + 1), record);
        }
        matches
    }

    /// The record as it was before is gone; an older one may be there.
    pub fn lose(&mut self, found: Option<Versioned<Record>>) {
        self.loss = Some(Loss { found });
        self.lease = None;
        self.late.clear();
    }

    /// The herd is taken up again. No revision comes again, as in a file that was made anew.
    pub fn recover(&mut self, record: Record) {
        let last = self.former.back().map(|former| former.revision);
        let last = last.unwrap_or_default().max(self.record.revision);
        self.put(Revision(last.0 + 1), record);
    }

    fn put(&mut self, revision: Revision, record: Record) {
        let next = Versioned {
            revision,
            value: record,
        };
        self.loss = None;
        let former = std::mem::replace(&mut self.record, next);
        self.former.push_back(former);
        if self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
    }

    /// A sign of life, if the record is still that one.
    pub fn renew(&mut self, expected: Revision, lease: Lease) -> bool {
        let matches = self.has(expected);
        if matches {
            let beat = self.lease.as_ref().map_or(0, |former| former.beat + 1);
            self.lease = Some(Lease { beat, ..lease });
        }
        matches
    }
}
