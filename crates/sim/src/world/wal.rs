//! WAL as a sequence of entries, and what PostgreSQL knows of its history: timelines.

use std::hash::{Hash, Hasher};

use manada_core::position::{Position, RuleId};
use manada_model::Lsn;

use super::HostId;

/// One entry of the WAL. Its LSN is its place, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A client's commit.
    Write(WriteId),
    /// A row of `manada.rule`.
    Rule(RuleId, HostId),
    /// The end of a recovery: of a crash or of a promotion. The number tells it from all others.
    Recovery(u32),
    /// A shutdown checkpoint.
    Shutdown(u32),
}

/// A client's write. Each is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u32);

/// A point that a WAL can be asked to contain, whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// How many entries there are up to here.
    pub length: usize,
    /// What they are.
    digest: u64,
}

/// All that a node has flushed.
#[derive(Clone, Debug, Default)]
pub struct Wal {
    entries: Vec<(Entry, u64)>,
    timelines: Vec<Branch>,
    rules: Vec<(usize, RuleId)>,
}

/// Where a timeline begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Branch {
    id: u32,
    begins: usize,
}

/// What PostgreSQL says to a standby that asks for WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It streams.
    Streams,
    /// The standby is not a part of its history, as far as timelines tell.
    Refuses,
}

impl Wal {
    /// The first server's.
    pub fn initial() -> Wal {
        Wal {
            entries: Vec::new(),
            timelines: vec![Branch { id: 1, begins: 0 }],
            rules: Vec::new(),
        }
    }

    /// How many entries there are; the flush LSN.
    pub fn length(&self) -> usize {
        self.entries.len()
    }

    /// The end of it.
    pub fn flush_lsn(&self) -> Lsn {
        lsn(self.length())
    }

    /// The end of it, or of what is replayed of it.
    pub fn position(&self, replayed: usize) -> Position {
        let rule = self.rules.iter().rev().find(|(at, _)| *at <= replayed);
        Position {
            rule: rule.map_or_else(RuleId::default, |(_, id)| *id),
            flush_lsn: self.flush_lsn(),
        }
    }

    /// The highest rule in it.
    pub fn rule(&self) -> RuleId {
        self.rules
            .last()
            .map_or_else(RuleId::default, |(_, id)| *id)
    }

    /// Adds an entry, and tells where it is.
    pub fn append(&mut self, entry: Entry) -> Mark {
        let digest = chained(self.digest_at(self.length()), entry);
        self.entries.push((entry, digest));
        if let Entry::Rule(id, _) = entry {
            self.rules.push((self.length(), id));
        }
        self.end()
    }

    /// Its end.
    pub fn end(&self) -> Mark {
        self.mark_at(self.length())
    }

    /// A point in it.
    pub fn mark_at(&self, length: usize) -> Mark {
        Mark {
            length,
            digest: self.digest_at(length),
        }
    }

    /// Whether that is in it, with all that was before.
    pub fn contains(&self, mark: Mark) -> bool {
        mark.length <= self.length() && self.digest_at(mark.length) == mark.digest
    }

    /// Entries from there on.
    pub fn entries_from(&self, length: usize) -> impl Iterator<Item = Entry> + '_ {
        self.entries[length.min(self.length())..]
            .iter()
            .map(|(entry, _)| *entry)
    }

    /// The timeline it is on.
    pub fn timeline(&self) -> u32 {
        self.timelines.last().map_or(1, |branch| branch.id)
    }

    /// A promotion: another timeline, the next that *this* node knows to be free.
    pub fn branch(&mut self) {
        let id = self.timeline() + 1;
        let begins = self.length();
        self.timelines.push(Branch { id, begins });
    }

    /// What a walsender with this WAL says to a standby that has the other (`StartReplication`).
    pub fn greets(&self, standby: &Wal) -> Greeting {
        let streams = match self.end_of_timeline(standby.timeline()) {
            None => false,
            Some(end) => standby.length() <= end,
        };
        if streams {
            Greeting::Streams
        } else {
            Greeting::Refuses
        }
    }

    /// Takes over entries of a leader's WAL, at most that many, and its timelines as they are
    /// reached.
    pub fn receive(&mut self, leader: &Wal, entries_max: usize) {
        let from = self.length();
        for entry in leader.entries_from(from).take(entries_max) {
            self.append(entry);
        }
        let length = self.length();
        for branch in &leader.timelines {
            if branch.begins <= length && branch.id > self.timeline() {
                self.timelines.push(*branch);
            }
        }
    }

    /// Where `pg_rewind` believes that this WAL and that source's part: it goes by timelines, so
    /// that it finds nothing where both have the same ones.
    pub fn fork(&self, source: &Wal) -> Option<usize> {
        let common = self
            .timelines
            .iter()
            .zip(&source.timelines)
            .take_while(|(own, theirs)| own == theirs)
            .count();
        let ends = |wal: &Wal| {
            let next = wal.timelines.get(common);
            next.map_or(usize::MAX, |branch| branch.begins)
        };
        let fork = ends(self).min(ends(source));
        (fork < self.length() || self.timelines.len() > common).then_some(fork)
    }

    /// Where a timeline of this history ends; `None` where it has none of that id.
    fn end_of_timeline(&self, id: u32) -> Option<usize> {
        let place = self.timelines.iter().position(|branch| branch.id == id)?;
        let next = self.timelines.get(place + 1);
        Some(next.map_or(self.length(), |branch| branch.begins))
    }

    fn digest_at(&self, length: usize) -> u64 {
        length.checked_sub(1).map_or(0, |last| self.entries[last].1)
    }
}

impl Hash for Wal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.end().hash(state);
        self.timelines.hash(state);
    }
}

impl PartialEq for Wal {
    fn eq(&self, other: &Wal) -> bool {
        self.end() == other.end() && self.timelines == other.timelines
    }
}

impl Eq for Wal {}

/// The LSN after that many entries.
pub(super) fn lsn(length: usize) -> Lsn {
    Lsn(length as u64)
}

/// A digest of a sequence and one more: equal sequences have equal ones on every run.
fn chained(before: u64, entry: Entry) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    before.hash(&mut hasher);
    entry.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wal(entries: &[u32]) -> Wal {
        let mut wal = Wal::initial();
        for id in entries {
            wal.append(Entry::Write(WriteId(*id)));
        }
        wal
    }

    #[test]
    fn a_standby_that_is_ahead_is_refused() {
        assert_eq!(wal(&[1]).greets(&wal(&[1, 2])), Greeting::Refuses);
        assert_eq!(wal(&[1, 2]).greets(&wal(&[1])), Greeting::Streams);
    }

    #[test]
    fn a_standby_beyond_the_fork_is_refused() {
        let mut leader = wal(&[1, 2]);
        leader.branch();
        leader.append(Entry::Recovery(0));
        let mut old = wal(&[1, 2, 3]);
        assert_eq!(leader.greets(&old), Greeting::Refuses);
        assert_eq!(old.fork(&leader), Some(2));
        old.append(Entry::Write(WriteId(4)));
        assert_eq!(old.fork(&leader), Some(2));
    }

    #[test]
    fn two_that_were_promoted_to_the_same_timeline_are_not_told_apart() {
        let mut leader = wal(&[1]);
        leader.branch();
        leader.append(Entry::Recovery(0));
        leader.append(Entry::Write(WriteId(7)));
        let mut other = wal(&[1]);
        other.branch();
        other.append(Entry::Recovery(1));
        assert_eq!(leader.greets(&other), Greeting::Streams);
        assert_eq!(other.fork(&leader), None);
        assert!(!leader.contains(other.end()));
    }
}
