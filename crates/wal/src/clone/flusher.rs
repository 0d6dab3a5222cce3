//! Makes files durable while others are still being received.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::CloneError;

/// How many files are flushed at once: one commit of the file system's journal carries all that
/// wait for it.
const WORKERS: usize = 16;

/// How many files wait to be flushed; each is an open descriptor.
const QUEUE_MAX: usize = 64;

/// Threads that flush files.
#[derive(Debug)]
pub(super) struct Flusher {
    queue: SyncSender<(PathBuf, File)>,
    workers: Vec<JoinHandle<()>>,
    failure: Arc<Mutex<Option<CloneError>>>,
}

impl Flusher {
    /// Starts the threads. They end with the flusher.
    pub(super) fn start() -> Self {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let failure = Arc::new(Mutex::new(None));
        let workers = (0..WORKERS)
            .map(|_| {
                let (jobs, failure) = (Arc::clone(&jobs), Arc::clone(&failure));
                std::thread::spawn(move || work(&jobs, &failure))
            })
            .collect();
        Flusher {
            queue,
            workers,
            failure,
        }
    }

    /// Flushes a file in the background and closes it. Waits while too many are waiting.
    pub(super) fn flush(&mut self, path: PathBuf, file: File) -> Result<(), CloneError> {
        self.check()?;
        self.queue
            .send((path, file))
            .expect("the threads live as long as the queue");
        Ok(())
    }

    /// Waits until everything is durable.
    pub(super) fn finish(self) -> Result<(), CloneError> {
        let Flusher {
            queue,
            workers,
            failure,
        } = self;
        drop(queue);
        for worker in workers {
            worker.join().expect("a flushing thread does not panic");
        }
        take(&failure)
    }

    fn check(&self) -> Result<(), CloneError> {
        take(&self.failure)
    }
}

fn take(failure: &Mutex<Option<CloneError>>) -> Result<(), CloneError> {
    match failure.lock().expect("no holder panics").take() {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

fn work(jobs: &Mutex<Receiver<(PathBuf, File)>>, failure: &Mutex<Option<CloneError>>) {
    loop {
        let job = jobs.lock().expect("no holder panics").recv();
        let Ok((path, file)) = job else {
            return;
        };
        if let Err(error) = file.sync_all() {
            let error = CloneError::io("flushing", &path, error);
            failure
                .lock()
                .expect("no holder panics")
                .get_or_insert(error);
        }
    }
}
