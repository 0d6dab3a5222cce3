//! The wall clock of a node, which can jump: libfaketime reads from a file by how much.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::Host;

/// Where Debian's package libfaketime has it, for programs with threads.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

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
        ])
    }
}
