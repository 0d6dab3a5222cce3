//! Sees changes of the file: a counter of SQLite's that is cheap to ask for.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use manada_model::HerdName;
use tokio::runtime::Handle;

use super::file::Opened;
use super::{file, statements};
use crate::error::{Cause, Request};
use crate::watch::{Unwatched, Watch, Watcher};

/// How often the counter is asked for. Each takes some microseconds, and finds nothing new most
/// of the time.
const POLL: Duration = Duration::from_millis(50);

/// Watches on a thread of its own: a file system that hangs holds up nothing else.
pub(super) fn start(path: PathBuf, herd: HerdName) -> Watch {
    let (watcher, watch) = Watch::new();
    let runtime = Handle::current();
    thread::spawn(move || {
        let mut following = Following {
            path,
            herd,
            opened: None,
        };
        following.run(watcher, &runtime).ok();
    });
    watch
}

struct Following {
    path: PathBuf,
    herd: HerdName,
    /// The file, and its counter when everything was read last.
    opened: Option<(Opened, Option<i64>)>,
}

impl Following {
    fn run(&mut self, mut watcher: Watcher, runtime: &Handle) -> Result<(), Unwatched> {
        loop {
            match self.look() {
                Ok(None) => {}
                Ok(Some(snapshot)) => runtime.block_on(watcher.tell(snapshot))?,
                Err(cause) => {
                    self.opened = None;
                    let error = Request::Read.not_done(cause);
                    runtime.block_on(watcher.tell_unreachable(error))?;
                }
            }
            if watcher.is_unwatched() {
                return Err(Unwatched);
            }
            thread::sleep(POLL);
        }
    }

    /// Reads everything if something has changed.
    fn look(&mut self) -> Result<Option<crate::store::Snapshot>, Cause> {
        let path = &self.path;
        self.opened.take_if(|(opened, _)| !opened.is_at(path));
        let (opened, counted) = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert((file::open(path)?, None)),
        };
        let connection = &mut opened.connection;
        let counter = connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(Cause::Sqlite)?;
        if *counted == Some(counter) {
            return Ok(None);
        }
        let snapshot = statements::read(connection, &self.herd)?;
        // A change after the counter was asked for makes it differ the next time.
        *counted = Some(counter);
        Ok(Some(snapshot))
    }
}
