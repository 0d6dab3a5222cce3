//! What clients asked and were told, and what was there at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Times are since the run began, by one clock.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every write that was sent to a server.
    pub writes: Vec<Write>,
    /// Every read that was answered.
    pub reads: Vec<Read>,
}

/// A write that was sent to a server.
#[derive(Clone, Debug)]
pub struct Write {
    /// Unique in the run; a later write has a higher one.
    pub number: u64,
    /// The client.
    pub session: u32,
    /// The client's own count of its writes.
    pub sequence: u32,
    /// The server.
    pub node: String,
    /// When the session with that server was asked for.
    pub opened: Duration,
    /// When it was sent.
    pub invoked: Duration,
    /// When its outcome was known, or given up.
    pub ended: Duration,
    /// What the client was told.
    pub outcome: WriteOutcome,
}

/// What a client knows of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is committed. `before` is the session's highest sequence that the server had before.
    Acknowledged {
        /// `None` where it had none.
        before: Option<u32>,
    },
    /// It failed before its commit: the server said so, in an error that leaves the session open.
    Refused,
    /// No answer, a session that ended, or the notice that the wait for standbys was cancelled.
    Unknown,
}

/// What a primary has shown.
#[derive(Clone, Debug)]
pub struct Read {
    /// The server.
    pub node: String,
    /// When it was sent.
    pub invoked: Duration,
    /// When it was answered.
    pub ended: Duration,
    /// Whether it was part of a transaction whose commit was acknowledged: the server was then
    /// still the primary after the snapshot. Another read may be stale.
    pub confirmed: bool,
    /// It asked for the numbers from this one on.
    pub from: u64,
    /// Those it was shown.
    pub seen: BTreeSet<u64>,
}

/// A leader's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Its number.
    pub epoch: u64,
    /// Who led.
    pub leader: String,
}

/// What was there when all was over.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// The numbers on the last primary.
    pub state: BTreeSet<u64>,
    /// A digest of what each node holds.
    pub digests: BTreeMap<String, String>,
    /// All reigns, where the servers know of such.
    pub reigns: Vec<Reign>,
}

/// Takes down a history while clients make it.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    next: AtomicU64,
    history: Mutex<History>,
}

impl Recorder {
    /// An empty history that begins now.
    #[allow(
        clippy::new_without_default,
        reason = "beginning a run is no default value"
    )]
    pub fn new() -> Recorder {
        Recorder {
            began: Instant::now(),
            next: AtomicU64::new(1),
            history: Mutex::new(History::default()),
        }
    }

    /// The time since the run began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When the run began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// A number that no write has had.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number that the next write gets.
    pub fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Takes down a write.
    pub fn wrote(&self, write: Write) {
        self.locked().writes.push(write);
    }

    /// Takes down a read.
    pub fn read(&self, read: Read) {
        self.locked().reads.push(read);
    }

    /// What was taken down so far.
    pub fn history(&self) -> History {
        self.locked().clone()
    }

    /// Looks at what was taken down so far.
    pub fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.locked())
    }

    fn locked(&self) -> MutexGuard<'_, History> {
        // What a client that panicked took down is true all the same.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
