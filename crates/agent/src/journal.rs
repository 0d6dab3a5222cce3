//! What was decided, why, and what came of it: a line of JSON each, kept within a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use jiff::Timestamp;
use manada_core::action::{ActionId, Order};
use manada_core::input::{Command, Outcome};
use manada_core::obstacle::{ForeignSetting, Obstacle};
use manada_core::position::Epoch;
use manada_core::reason::Reason;
use manada_core::server::{PrimaryFacts, ServerFacts};
use manada_model::NodeName;
use serde::{Deserialize, Serialize};

/// How large the file gets, in bytes, before it becomes the former one; there is one of these.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How many lines wait for the disk. What does not fit is counted, and said by the next line that
/// does.
const WAITING_MAX: usize = 4096;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// In which reign, as far as was known.
    pub epoch: Option<Epoch>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What there is to write down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The agent began.
    Started {
        /// The program's version.
        version: String,
    },
    /// The agent ended in good order.
    Ended,
    /// The server has become something else.
    Server {
        /// This.
        facts: Box<ServerFacts>,
    },
    /// Somebody else has begun to set what commits wait for, or nobody does any more.
    Foreign {
        /// Who and what.
        setting: Option<ForeignSetting>,
    },
    /// An operator wants something.
    Commanded {
        /// On whose host.
        from: NodeName,
        /// What.
        command: Command,
        /// Why it was not taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<Obstacle>,
    },
    /// The core wants something done.
    Ordered {
        /// By which the outcome is known.
        action: ActionId,
        /// What.
        order: Box<Order>,
        /// Why.
        reason: Reason,
    },
    /// It has ended.
    Done {
        /// Which.
        action: ActionId,
        /// How.
        outcome: Box<Outcome>,
        /// How long it took.
        took_ms: u64,
        /// What was in the way, in the words of whoever tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Lines are missing before this one: the disk was too slow.
    Missing {
        /// How many.
        lines: u64,
    },
}

/// The journal of a node.
#[derive(Clone, Debug)]
pub struct Journal {
    lines: SyncSender<Entry>,
    missing: u64,
}

impl Journal {
    /// The journal in an agent's directory. A thread of its own writes it: a disk that stalls must
    /// not hold up a decision.
    pub fn in_directory(directory: &Path) -> Journal {
        let path = path_in(directory);
        let (lines, waiting) = sync_channel(WAITING_MAX);
        std::thread::spawn(move || write(&path, &waiting));
        Journal { lines, missing: 0 }
    }

    /// Writes down what happens now.
    pub fn note(&mut self, epoch: Option<Epoch>, event: Event) {
        let at = Timestamp::now();
        if self.missing > 0 {
            let lines = self.missing;
            let event = Event::Missing { lines };
            if self.lines.try_send(Entry { at, epoch, event }).is_ok() {
                self.missing = 0;
            }
        }
        if self.lines.try_send(Entry { at, epoch, event }).is_err() {
            self.missing += 1;
        }
    }
}

/// The newest `count` lines of a node's journal, the oldest first. Lines that can't be read, as one
/// of a later version of this program, are left out.
///
/// # Errors
/// A file is there and can't be read.
pub fn read(directory: &Path, count: usize) -> io::Result<Vec<Entry>> {
    let path = path_in(directory);
    let mut entries = Vec::new();
    for file in [former(&path), path] {
        let file = match File::open(file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines() {
            if let Ok(entry) = serde_json::from_str(&line?) {
                entries.push(entry);
            }
        }
    }
    entries.drain(..entries.len().saturating_sub(count));
    Ok(entries)
}

/// Whether the server has become something else, which is worth a line.
pub(crate) fn is_another_state(before: &ServerFacts, now: &ServerFacts) -> bool {
    match (before, now) {
        (ServerFacts::Standby(before), ServerFacts::Standby(now)) => {
            (&before.follows, before.streams, before.settled)
                != (&now.follows, now.streams, now.settled)
        }
        (ServerFacts::Primary(before), ServerFacts::Primary(now)) => {
            let streaming = |facts: &PrimaryFacts| {
                let names = facts.followers.iter().filter(|one| one.streaming);
                names.map(|one| one.name.clone()).collect::<Vec<_>>()
            };
            (before.gate, &before.enforced, streaming(before))
                != (now.gate, &now.enforced, streaming(now))
        }
        (before, now) => before != now,
    }
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join("journal.jsonl")
}

fn former(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

/// Writes until nobody notes anything any more.
fn write(path: &Path, waiting: &Receiver<Entry>) {
    for entry in waiting {
        if let Err(error) = append(path, &entry) {
            tracing::error!(%error, path = %path.display(), "the journal can't be written");
        }
    }
}

fn append(path: &Path, entry: &Entry) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() >= FILE_BYTES_MAX) {
        fs::rename(path, former(path))?;
    }
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?
        .write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(version: &str) -> Event {
        Event::Started {
            version: version.to_owned(),
        }
    }

    #[test]
    fn what_is_noted_is_read_back_in_order_and_the_newest_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = path_in(directory.path());
        let at = Timestamp::UNIX_EPOCH;
        for number in 0..5 {
            let event = started(&number.to_string());
            let epoch = Some(Epoch(number));
            append(&path, &Entry { at, epoch, event }).expect("written");
        }
        fs::write(
            &path,
            fs::read_to_string(&path).expect("there") + "{\"half\": ",
        )
        .expect("written");
        let read = read(directory.path(), 2).expect("readable");
        let epochs: Vec<_> = read.iter().filter_map(|entry| entry.epoch).collect();
        assert_eq!(epochs, [Epoch(3), Epoch(4)]);
        assert_eq!(read[1].event, started("4"));
    }

    #[test]
    fn a_full_file_becomes_the_former_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = path_in(directory.path());
        let full = File::create(&path).expect("made");
        full.set_len(FILE_BYTES_MAX).expect("room");
        let entry = Entry {
            at: Timestamp::UNIX_EPOCH,
            epoch: None,
            event: Event::Ended,
        };
        append(&path, &entry).expect("written");
        let length = |path: &Path| fs::metadata(path).expect("there").len();
        assert_eq!(length(&former(&path)), FILE_BYTES_MAX);
        assert!(length(&path) < 200);
    }
}
