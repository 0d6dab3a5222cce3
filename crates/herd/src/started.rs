//! A server that a command starts: it goes on when the command succeeds, and not when it fails or
//! is interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use manada_postgres::process::{
    READY_WITHIN, StartError, StartOptions, StopMode, Stopped, running, start, stop,
};
use manada_postgres::programs::ServerPrograms;

/// How long a failed command waits for the end of the server it started.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// How long an interrupted command waits for a server program that is just being run to show up.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// A started server; dropping this stops it, unless it was kept.
#[derive(Debug)]
pub(crate) struct StartedServer {
    data_directory: PathBuf,
    start_returned: Arc<AtomicBool>,
    kept: bool,
}

impl StartedServer {
    /// Starts the server of a data directory, with what it says in `log_file`.
    pub(crate) async fn start(
        programs: &ServerPrograms,
        data_directory: &Path,
        log_file: &Path,
    ) -> Result<StartedServer, StartError> {
        let (programs, data, log) = (
            programs.clone(),
            data_directory.to_path_buf(),
            log_file.to_path_buf(),
        );
        let launch = move || {
            start(
                &programs,
                &StartOptions {
                    data_directory: &data,
                    settings: &[],
                    log_file: &log,
                    ready_within: READY_WITHIN,
                },
            )
        };
        StartedServer::start_by(data_directory, launch).await
    }

    /// Starts the server of a data directory, on which none runs, by a call that blocks.
    pub(crate) async fn start_by<T, E>(
        data_directory: &Path,
        launch: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<StartedServer, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let start_returned = Arc::new(AtomicBool::new(false));
        let started = StartedServer {
            data_directory: data_directory.to_path_buf(),
            start_returned: Arc::clone(&start_returned),
            // Somebody else's server stays.
            kept: running(data_directory).is_ok_and(|server| server.is_some()),
        };
        tokio::task::spawn_blocking(move || {
            let outcome = launch();
            start_returned.store(true, Ordering::Release);
            outcome
        })
        .await
        .expect("starting a server does not panic")?;
        Ok(started)
    }

    /// Lets it go on after us.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StartedServer {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let deadline = Instant::now() + APPEARS_WITHIN;
        loop {
            let returned = self.start_returned.load(Ordering::Acquire);
            match stop(&self.data_directory, StopMode::Fast, STOPPED_WITHIN) {
                Ok(Stopped::WasNotRunning) if !returned && Instant::now() < deadline => {
                    std::thread::sleep(BETWEEN_LOOKS);
                }
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(%error, "a server that was started is left running");
                    return;
                }
            }
        }
    }
}
