//! The wall clock of a node, which can jump: libfaketime reads from a file by how much.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::host::Host;
use crate::process;

/// Where Debian's package libfaketime has it, for programs with threads.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Where the library has what the processes of one program share, and how it is called.
const SHARED: &str = "/dev/shm";
const NAMES: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// The wall clock of the agent and all that it starts. Clocks that only grow are left alone.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock that is right; `None` where this machine lacks what it takes.
    pub(super) fn of(host: &Host) -> Option<Clock> {
        if !Path::new(LIBRARY).exists() {
            return None;
        }
        let clock = Clock {
            file: host.home().join("clock"),
        };
        clock.be_off_by(0);
        Some(clock)
    }

    /// Jumps, so that it is so many seconds ahead of the right time, or behind it.
    pub fn be_off_by(&self, seconds: i64) {
        fs::write(&self.file, format!("{seconds:+}s\n")).expect("the directory is ours");
    }

    pub(super) fn environment(&self) -> BTreeMap<String, OsString> {
        BTreeMap::from([
            ("LD_PRELOAD".to_owned(), LIBRARY.into()),
            (
                "FAKETIME_TIMESTAMP_FILE".to_owned(),
                self.file.clone().into_os_string(),
            ),
            ("FAKETIME_CACHE_DURATION".to_owned(), "1".into()),
            ("DONT_FAKE_MONOTONIC".to_owned(), "1".into()),
            ("FAKETIME_DONT_RESET".to_owned(), "1".into()),
            // Files keep their times. To change those, the library takes a lock which all that the
            // agent has started share, and which is never given back by who is killed with it.
            ("NO_FAKE_STAT".to_owned(), "1".into()),
        ])
    }

    /// Removes what the library made for processes that were killed. It names that by their ids,
    /// and a later process with such an id, of another user, would not start.
    pub(super) fn sweep() {
        let Ok(entries) = fs::read_dir(SHARED) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = NAMES.iter().find_map(|prefix| name.strip_prefix(prefix));
            let pid = pid.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            if pid.is_some_and(|pid| process::state(pid).is_none()) {
                // Another test process may be sweeping the same one.
                fs::remove_file(entry.path()).ok();
            }
        }
    }
}
