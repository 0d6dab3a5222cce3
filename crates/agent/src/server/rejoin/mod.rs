//! Coming back: the data of a node whose WAL has diverged is brought into its leader's history.
//!
//! Whatever is lost by it is saved first. Each rung may be killed at any moment and be begun again:
//! a rewind that was broken off leaves a mark, by which the data counts as unusable until a clone
//! has taken its place; a clone takes the place of the old data in one exchange of names.

mod cloning;
mod error;
mod rewind;
mod saved;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use manada_core::action::Rung;
use manada_herd::{Door, protection};
use manada_model::{Lsn, NodeName};
use manada_postgres::conninfo::Endpoint;
use manada_postgres::control_file::ControlFile;
use manada_postgres::process::{RunningError, StopMode};
use tokio::time::Instant;

pub use error::RejoinError;

use super::Shared;
use super::error::OrderError;
use super::policy::set_nobody;

/// How long a recovery may go on that a rewind has begun and not waited for. One that takes longer
/// is waited for by the next try.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

impl Shared {
    /// Brings the data into that leader's history. The server is stopped, and left so.
    pub(super) async fn rejoin(
        &self,
        leader: &NodeName,
        diverged_at: Option<Lsn>,
        rung: Rung,
    ) -> Result<(), OrderError> {
        let endpoint = self
            .endpoint_of(leader)
            .ok_or_else(|| OrderError::UnknownMember {
                name: leader.clone(),
            })?;
        self.stop_for_rejoin().await?;
        self.forbid_archiving()?;
        if !self.rejoin_is_unfinished()
            && let Ok(control_file) = ControlFile::read(&self.node.file.data_directory)
        {
            self.save_tail(leader, diverged_at, control_file).await?;
        }
        match rung {
            Rung::Rewind => self.rewind(leader, endpoint).await?,
            Rung::Clone => self.clone_beside(endpoint).await?,
        }
        self.place_standby_signal()?;
        let mut change = self.change()?;
        set_nobody(&mut change);
        protection::follow_nobody(change.settings());
        change.door(Door::Closed);
        self.write(change)?;
        self.finish_rejoin()
    }

    /// Stopped in good order, data can be rewound without a recovery first. What a rewind that was
    /// broken off had recovering the data ends by itself.
    async fn stop_for_rejoin(&self) -> Result<(), OrderError> {
        let deadline = Instant::now() + RECOVERED_WITHIN;
        let running = loop {
            match self.watch.running() {
                Err(RunningError::SingleUser { .. })
                    if self.rejoin_is_unfinished() && Instant::now() < deadline =>
                {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                running => break running?,
            }
        };
        if running.is_none() {
            return Ok(());
        }
        match self.stop_and_wait(StopMode::Fast).await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::info!(%error, "the server is stopped at once");
                self.stop_and_wait(StopMode::Immediate).await
            }
        }
    }

    /// Works on files in another thread, when what an order that was dropped had begun there has
    /// ended.
    async fn work_on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let working = Arc::clone(&self.file_work).lock_owned().await;
        let worked = tokio::task::spawn_blocking(move || {
            let _working = working;
            work()
        });
        worked.await.expect("work on files does not panic")
    }

    /// The connection by which the leader's files are read and its server is asked.
    fn source(&self, leader: Endpoint) -> manada_postgres::Conninfo {
        protection::rewind_source(&self.node, leader)
    }
}
