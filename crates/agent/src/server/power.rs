//! Starting and stopping: in recovery, or as the primary it was.

use std::fs;
use std::io;
use std::time::Duration;

use manada_core::action::Stop;
use manada_herd::power::start_node_within;
use manada_herd::{Door, protection};
use manada_model::NodeName;
use manada_postgres::durable::sync_directory;
use manada_postgres::process::{StopMode, end_at_once, end_orphans, stop};
use manada_postgres::replace_file::{FileOwner, replace_file};

use super::Shared;
use super::error::OrderError;
use super::policy::set_nobody;

/// How long a start is waited for. A long recovery goes on without: that it has not ended is in the
/// facts.
const STARTED_WITHIN: Duration = Duration::from_secs(3);
/// How long a checkpoint before a stop is waited for.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(10);
/// How long a server may take to stop in good order: as long as a handover.
const STOPPED_WITHIN: Duration = Duration::from_millis(4500);
/// How long it may take when it is to stop at once, before its processes are killed: it sends one
/// signal to each of them.
const STOPPED_AT_ONCE_WITHIN: Duration = Duration::from_millis(500);

const STANDBY_SIGNAL: &str = "standby.signal";

impl Shared {
    /// Starts the server in recovery. Without a leader nobody gets in: its WAL may turn out not to
    /// be a part of the history.
    pub(super) async fn start_standby(&self, follow: Option<&NodeName>) -> Result<(), OrderError> {
        self.demand_no_rejoin()?;
        if self.watch.running()?.is_some() {
            return match follow {
                Some(leader) => self.follow(leader).await,
                None => self.stop_receiving().await,
            };
        }
        let mut change = self.change()?;
        set_nobody(&mut change);
        match follow {
            Some(leader) => {
                self.set_leader(&mut change, leader)?;
                change.door(Door::Open);
            }
            None => {
                protection::follow_nobody(change.settings());
                change.door(Door::Closed);
            }
        }
        self.forbid_archiving()?;
        self.raise_limits(&mut change).await?;
        self.write(change)?;
        self.take_back_at_rest()?;
        self.place_standby_signal()?;
        self.start().await?;
        if let Ok(session) = self.open().await {
            self.remove_replaced_data();
            self.see_obedience(&session).await?;
            self.keep_slots(&session).await?;
            self.leave(session);
        }
        Ok(())
    }

    /// Starts the server as a primary that acknowledges nothing and lets nobody in.
    pub(super) async fn start_primary(&self) -> Result<(), OrderError> {
        self.demand_no_rejoin()?;
        if self.watch.running()?.is_some() {
            return Err(OrderError::WrongState {
                action: "be started as a primary",
                found: "running",
            });
        }
        let mut change = self.change()?;
        set_nobody(&mut change);
        change.door(Door::Closed);
        self.forbid_archiving()?;
        self.write(change)?;
        self.take_back_at_rest()?;
        self.remove_standby_signal()?;
        self.start().await?;
        match self.open().await {
            Ok(session) => {
                self.demand_nobody(&session).await?;
                self.prove_waiting(&session).await?;
                self.leave(session);
                Ok(())
            }
            // It still recovers. Its checkpointer read the settings before there was anything to
            // acknowledge, and ends the recovery with a checkpoint.
            Err(error) => {
                tracing::info!(%error, "the server has not ended its recovery yet");
                Ok(())
            }
        }
    }

    /// Writes a checkpoint. One that takes long goes on, and what it has written needs no writing
    /// again.
    pub(super) async fn checkpoint(&self) -> Result<(), OrderError> {
        let session = self.open().await?;
        let checkpoint = session.batch_execute("CHECKPOINT");
        match tokio::time::timeout(CHECKPOINT_WITHIN, checkpoint).await {
            Ok(done) => done.map_err(OrderError::sql("write a checkpoint")),
            Err(_) => Ok(()),
        }
    }

    /// Stops the server.
    pub(super) async fn stop(&self, how: Stop) -> Result<(), OrderError> {
        match how {
            Stop::Fast => self.stop_and_wait(StopMode::Fast).await,
            Stop::Immediate => self.stop_and_wait(StopMode::Immediate).await,
        }
    }

    pub(super) async fn stop_and_wait(&self, mode: StopMode) -> Result<(), OrderError> {
        let data_directory = self.node.file.data_directory.clone();
        let stopping = tokio::task::spawn_blocking(move || match mode {
            StopMode::Smart | StopMode::Fast => stop(&data_directory, mode, STOPPED_WITHIN),
            StopMode::Immediate => end_at_once(&data_directory, STOPPED_AT_ONCE_WITHIN),
        });
        stopping.await.expect("stopping a server does not panic")?;
        Ok(())
    }

    /// Starts the server as its files say, and waits until it takes sessions, for a while.
    pub(super) async fn start(&self) -> Result<(), OrderError> {
        let node = self.node.clone();
        let starting = tokio::task::spawn_blocking(move || {
            end_orphans(&node.file.data_directory)?;
            Ok::<_, OrderError>(start_node_within(&node, STARTED_WITHIN))
        });
        let started = starting.await.expect("starting a server does not panic")?;
        // From here on its end is noticed.
        self.watch.running()?;
        match started {
            Ok(_) => Ok(()),
            Err(error) if error.goes_on() => {
                tracing::info!(%error, "the server is still starting");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn place_standby_signal(&self) -> Result<(), OrderError> {
        let data_directory = &self.node.file.data_directory;
        let owner = FileOwner::like(data_directory)
            .map_err(OrderError::io("look at", data_directory))?
            .with_mode(0o600);
        let path = data_directory.join(STANDBY_SIGNAL);
        if !path.exists() {
            replace_file(&path, "", owner)?;
        }
        Ok(())
    }

    pub(super) fn remove_standby_signal(&self) -> Result<(), OrderError> {
        let data_directory = &self.node.file.data_directory;
        let path = data_directory.join(STANDBY_SIGNAL);
        match fs::remove_file(&path) {
            Ok(()) => {
                sync_directory(data_directory).map_err(OrderError::io("sync", data_directory))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(OrderError::io("remove", &path)(source)),
        }
    }

    /// From here on what the server finishes stays in its `pg_wal`.
    pub(super) fn forbid_archiving(&self) -> Result<(), OrderError> {
        let path = self.node.home.archiving_mark();
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(OrderError::io("remove", &path)(source)),
        }
    }

    pub(super) fn allow_archiving(&self) -> Result<(), OrderError> {
        let home = self.node.home.path();
        let owner = FileOwner::like(home)
            .map_err(OrderError::io("look at", home))?
            .with_mode(0o600);
        let path = self.node.home.archiving_mark();
        if path.exists() {
            return Ok(());
        }
        Ok(replace_file(&path, "", owner)?)
    }
}
