//! What a server logs while it starts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::os_user::OsUser;

/// How much of a log is read.
const TAIL_BYTES_MAX: u64 = 4096;

/// How long the logging collector may take to write down what it was given: it ends after the
/// server.
const COLLECTED_WITHIN: Duration = Duration::from_millis(500);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// What a server says when it leaves its log to its collector, the first line that the collector
/// writes, and the last one.
const COLLECTED: &str = "redirecting log output to logging collector";
const FIRST_COLLECTED: &str = "starting PostgreSQL";
const LAST_COLLECTED: &str = "database system is shut down";

/// A log, and where a start's part of it begins.
#[derive(Debug)]
pub struct StartLog {
    file: File,
    begin: u64,
}

impl StartLog {
    /// Opens a log from its present end; it is made, as the user's, if need be.
    pub(super) fn open(path: &Path, user: &OsUser) -> io::Result<StartLog> {
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if is_new {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            user.own(path)?;
        }
        StartLog::from_end_of(file)
    }

    /// Opens a log that somebody else writes, from its present end.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn of_others(path: &Path) -> io::Result<StartLog> {
        StartLog::from_end_of(File::open(path)?)
    }

    fn from_end_of(mut file: File) -> io::Result<StartLog> {
        let begin = file.seek(SeekFrom::End(0))?;
        Ok(StartLog { file, begin })
    }

    pub(super) fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The end of what was logged since it was opened.
    pub fn tail(&mut self) -> String {
        tail_of(&mut self.file, self.begin)
            .unwrap_or_else(|error| format!("(its log can't be read: {error})"))
    }

    /// The same of a server that has ended, with what its logging collector has written elsewhere.
    pub(super) fn all_of(&mut self, data_directory: &Path) -> String {
        let mut text = self.tail();
        if text.contains(COLLECTED)
            && let Some(collected) = collected(data_directory)
        {
            text.push('\n');
            text.push_str(&collected);
        }
        text
    }
}

/// What the last start left with its collector.
fn collected(data_directory: &Path) -> Option<String> {
    let deadline = Instant::now() + COLLECTED_WITHIN;
    loop {
        let text = collected_now(data_directory);
        let is_whole = text
            .as_ref()
            .is_some_and(|text| text.contains(LAST_COLLECTED));
        if is_whole || Instant::now() >= deadline {
            return text;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn collected_now(data_directory: &Path) -> Option<String> {
    let path = collectors_file(data_directory)?;
    let text = tail_of(&mut File::open(path).ok()?, 0).ok()?;
    let first = text.rfind(FIRST_COLLECTED).unwrap_or(0);
    let line = text[..first].rfind('\n').map_or(0, |end| end + 1);
    Some(text[line..].to_owned())
}

/// Where the collector writes what is for people. The server removes the list when it starts
/// (`LOG_METAINFO_DATAFILE` in `syslogger.h`).
fn collectors_file(data_directory: &Path) -> Option<PathBuf> {
    let list = fs::read_to_string(data_directory.join("current_logfiles")).ok()?;
    let file = list.lines().find_map(|line| line.strip_prefix("stderr "))?;
    Some(data_directory.join(file))
}

fn tail_of(file: &mut File, begin: u64) -> io::Result<String> {
    let end = file.seek(SeekFrom::End(0))?;
    let from = begin.max(end.saturating_sub(TAIL_BYTES_MAX));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
