//! The postmaster's death, told by the kernel: at once, and also of a server that others started.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use manada_postgres::process::{HeldServer, RunningError, RunningServer, hold};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Which run of a server: a process id alone comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pid: i32,
    pub(super) started_at: SystemTime,
}

impl Run {
    pub(super) fn of(server: &RunningServer) -> Run {
        Run {
            pid: server.pid,
            started_at: server.started_at,
        }
    }
}

/// Watches whichever postmaster runs on a data directory.
#[derive(Debug)]
pub(super) struct Watch {
    data_directory: PathBuf,
    watched: Arc<Mutex<Option<Run>>>,
    deaths: watch::Sender<u64>,
    told: Mutex<u64>,
}

impl Watch {
    pub(super) fn new(data_directory: &Path) -> Watch {
        Watch {
            data_directory: data_directory.to_path_buf(),
            watched: Arc::default(),
            deaths: watch::Sender::new(0),
            told: Mutex::default(),
        }
    }

    /// Which postmaster runs now; from here on its death is waited for.
    pub(super) fn running(&self) -> Result<Option<RunningServer>, RunningError> {
        let Some(held) = hold(&self.data_directory)? else {
            return Ok(None);
        };
        let server = held.server().clone();
        self.attend(held);
        Ok(Some(server))
    }

    /// The run that is waited for; `None` when none has been seen, or the last one has ended.
    pub(super) fn watched(&self) -> Option<Run> {
        *lock(&self.watched)
    }

    /// Ends when a watched postmaster has ended since this last did. A call that is dropped before
    /// loses nothing.
    pub(super) async fn died(&self) {
        let mut deaths = self.deaths.subscribe();
        let told = *lock(&self.told);
        // The sender lives as long as `self`.
        if let Ok(count) = deaths.wait_for(|count| *count > told).await {
            *lock(&self.told) = *count;
        }
    }

    fn attend(&self, held: HeldServer) {
        let run = Run::of(held.server());
        let mut watched = lock(&self.watched);
        if *watched == Some(run) {
            return;
        }
        *watched = Some(run);
        let (all, deaths) = (Arc::clone(&self.watched), self.deaths.clone());
        tokio::spawn(async move {
            wait_for_end(held.into_process()).await;
            let mut watched = lock(&all);
            if *watched == Some(run) {
                *watched = None;
            }
            drop(watched);
            deaths.send_modify(|count| *count += 1);
        });
    }
}

/// A process descriptor becomes readable when the process has ended.
#[allow(
    deprecated,
    reason = "the form that takes its place is unsafe for what is no owned descriptor; this is one"
)]
async fn wait_for_end(process: OwnedFd) {
    match AsyncFd::with_interest(process, Interest::READABLE) {
        Ok(process) => {
            if let Err(error) = process.readable().await {
                tracing::error!(%error, "the server's process can't be watched");
            }
        }
        Err(error) => tracing::error!(%error, "the server's process can't be watched"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
