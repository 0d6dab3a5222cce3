//! The engine for a herd on one machine: one file, which all its agents change.

mod file;
mod statements;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use manada_core::lease::Lease;
use manada_core::record::{Record, Revision, Versioned};
use manada_model::address::HostAddress;
use manada_model::{HerdName, NodeName};
use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::contact::Contact;
use crate::error::{Cause, Request, StoreError};
use crate::store::{Engine, LeaderPlace, OpenError, Pending, REQUEST_MAX, Renewal, Snapshot, Swap};
use crate::watch::Watch;
use file::Opened;
use statements::Found;

/// How many requests may be under way, those that hang in the file system included.
const REQUESTS_MAX: usize = 8;
/// How many connections are kept for the next request.
const IDLE_MAX: usize = 2;

/// A herd's part of the file.
pub(crate) struct Sqlite {
    path: PathBuf,
    herd: HerdName,
    /// A request takes a connection out, so that none waits for another that hangs.
    idle: Arc<Mutex<Vec<Opened>>>,
    room: Arc<Semaphore>,
}

impl Sqlite {
    pub(crate) async fn open(path: &Path, herd: &HerdName) -> Result<Sqlite, OpenError> {
        let failed = |cause| OpenError::Sqlite {
            path: path.to_owned(),
            cause,
        };
        let file = path.to_owned();
        // One that is there may be of an earlier or a later version.
        let opened = spawn_blocking(move || file::create(&file).and_then(|()| file::open(&file)));
        let opened = opened
            .await
            .expect("opening a file does not panic")
            .map_err(failed)?;
        Ok(Sqlite {
            path: path.to_owned(),
            herd: herd.clone(),
            idle: Arc::new(Mutex::new(vec![opened])),
            room: Arc::new(Semaphore::new(REQUESTS_MAX)),
        })
    }

    /// Runs `work` with a connection of its own on a thread of its own.
    async fn run<T: Send + 'static>(
        &self,
        request: Request,
        work: impl FnOnce(&mut Connection, &HerdName) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            let hanging = REQUESTS_MAX;
            return Err(request.not_done(Cause::Stuck { hanging }));
        };
        let (path, herd, idle) = (self.path.clone(), self.herd.clone(), Arc::clone(&self.idle));
        let kept = locked(&idle).pop();
        let working = spawn_blocking(move || {
            let _place = place;
            let mut opened = match kept.filter(|kept| kept.is_at(&path)) {
                Some(kept) => kept,
                None => file::open(&path).map_err(|cause| request.not_done(cause))?,
            };
            let outcome = work(&mut opened.connection, &herd);
            let outcome = outcome.map_err(|cause| failed(request, cause))?;
            let mut idle = locked(&idle);
            if idle.len() < IDLE_MAX {
                idle.push(opened);
            }
            Ok(outcome)
        });
        match timeout(REQUEST_MAX, working).await {
            Ok(ended) => ended.expect("a request does not panic"),
            Err(_) => Err(request.in_doubt(Cause::TimedOut)),
        }
    }
}

/// A statement that never got the lock has done nothing. Anything else may have come after the
/// commit was written.
fn failed(request: Request, cause: Cause) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    match &cause {
        Cause::Sqlite(rusqlite::Error::SqliteFailure(error, _))
            if matches!(error.code, DatabaseBusy | DatabaseLocked) =>
        {
            request.not_done(cause)
        }
        _ => request.in_doubt(cause),
    }
}

fn locked(idle: &Mutex<Vec<Opened>>) -> std::sync::MutexGuard<'_, Vec<Opened>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json(request: Request, value: &impl Serialize) -> Result<String, StoreError> {
    let text = serde_json::to_string(value);
    text.map_err(|error| {
        let what = "what is to be written";
        request.not_done(Cause::Malformed { what, error })
    })
}

impl Engine for Sqlite {
    fn read(&self) -> Pending<'_, Snapshot> {
        Box::pin(self.run(Request::Read, statements::read))
    }

    fn write<'a>(&'a self, expected: Option<Revision>, record: &'a Record) -> Pending<'a, Swap> {
        Box::pin(async move {
            let request = match expected {
                Some(_) => Request::Swap,
                None => Request::Create,
            };
            let (text, recoveries) = (json(request, record)?, record.recoveries);
            let work = move |connection: &mut Connection, herd: &HerdName| {
                statements::write(connection, herd, expected, recoveries, &text)
            };
            Ok(match self.run(request, work).await? {
                Ok((revision, lease)) => Swap::Swapped {
                    record: Versioned {
                        revision,
                        value: record.clone(),
                    },
                    lease,
                },
                Err(Found(current)) => Swap::Conflict(current),
            })
        })
    }

    fn renew<'a>(&'a self, expected: Revision, lease: &'a Lease) -> Pending<'a, Renewal> {
        Box::pin(async move {
            let text = json(Request::Renew, lease)?;
            let work = move |connection: &mut Connection, herd: &HerdName| {
                statements::renew(connection, herd, expected, &text)
            };
            Ok(match self.run(Request::Renew, work).await? {
                Ok(()) => Renewal::Renewed,
                Err(Found(current)) => Renewal::Conflict(current),
            })
        })
    }

    fn register<'a>(&'a self, contact: &'a Contact) -> Pending<'a, ()> {
        Box::pin(async move {
            let text = json(Request::Register, contact)?;
            let name = contact.name.clone();
            let work = move |connection: &mut Connection, herd: &HerdName| {
                statements::register(connection, herd, &name, &text)
            };
            self.run(Request::Register, work).await
        })
    }

    fn unregister<'a>(&'a self, name: &'a NodeName) -> Pending<'a, ()> {
        let name = name.clone();
        let work = move |connection: &mut Connection, herd: &HerdName| {
            statements::unregister(connection, herd, &name)
        };
        Box::pin(self.run(Request::Unregister, work))
    }

    /// A file has no leader.
    fn keep_leader_off<'a>(&'a self, _: &'a [HostAddress]) -> Pending<'a, LeaderPlace> {
        Box::pin(async { Ok(LeaderPlace::Settled) })
    }

    fn watch(&self) -> Watch {
        watch::start(self.path.clone(), self.herd.clone())
    }
}
