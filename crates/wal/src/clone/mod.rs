//! A native base backup: the data directory and the WAL it needs, verified and durable in one pass.
//!
//! Two connections to the source: one carries `BASE_BACKUP`, the other the WAL beside it, on the
//! slot that the new server will use. Everything is written into a directory beside the target,
//! checked against the server's manifest as it passes, made durable, and only then renamed to the
//! target. Why it is done this way: `docs/design/clone.md`.

mod copy;
mod error;
mod extract;
mod flusher;
mod inventory;
mod placement;
mod progress;
mod request;
mod slot;
mod staging;
mod tablespaces;
mod wal_files;
mod wal_receiver;

use std::sync::Arc;
use std::time::{Duration, Instant};

use manada_model::{ServerVersion, SystemIdentifier, WalPosition};
use manada_wire::command::base_backup::BaseBackup;
use tokio::sync::watch;

use crate::replication::{BaseBackupStream, ReplicationConnection};
use copy::Copied;
use flusher::Flusher;
use placement::Placement;
use progress::Counters;
use slot::HeldSlot;
use staging::Staging;
use tablespaces::TablespacePlan;
use wal_files::WalFiles;
use wal_receiver::WalReceiver;

pub use error::CloneError;
pub use inventory::FileFault;
pub use manada_wire::command::base_backup::{Checkpoint, ChecksumAlgorithm, TransferRate};
pub use progress::{ClonePhase, CloneProgress};
pub use request::{CloneRequest, CloneSlot, Configure, ExtraFile, TablespaceMapping};
pub use tablespaces::TablespaceFault;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What was cloned, and how long it took.
#[derive(Debug, Clone)]
pub struct CloneReport {
    /// The cluster.
    pub system_identifier: SystemIdentifier,
    /// The source's version.
    pub server_version: ServerVersion,
    /// Where the WAL begins that the clone needs to become consistent.
    pub start: WalPosition,
    /// Where it ends; all of it is in the clone's `pg_wal`.
    pub end: WalPosition,
    /// Files that were received and verified.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of WAL that were received beside them.
    pub wal_bytes: u64,
    /// From the first connection to the rename.
    pub elapsed: Duration,
}

/// Clones a server's data directory.
///
/// When it returns `Ok`, the target is complete, verified and durable. When it returns an error,
/// or its future is dropped, the target is as it was: what had been received is removed, at once
/// or by the next attempt.
///
/// # Errors
/// [`CloneError`] says what was in the way; [`CloneError::remedy`] says how to go on.
pub async fn run(
    request: CloneRequest,
    mut progress: impl FnMut(CloneProgress),
) -> Result<CloneReport, CloneError> {
    let counters = Arc::new(Counters::new());
    let mut clone = std::pin::pin!(attempt(request, Arc::clone(&counters)));
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    let outcome = loop {
        tokio::select! {
            outcome = &mut clone => break outcome,
            _ = tick.tick() => progress(counters.snapshot()),
        }
    };
    progress(counters.snapshot());
    outcome
}

async fn attempt(
    request: CloneRequest,
    counters: Arc<Counters>,
) -> Result<CloneReport, CloneError> {
    let started = Instant::now();
    let target = staging::examine(&request.target)?;
    let mut control = ReplicationConnection::open(&request.source, request.peer).await?;
    let source = Source::ask(&mut control, &request).await?;
    let placement = Placement::new(source.group_access, request.owner.as_ref())?;
    let staging = Arc::new(Staging::create(target, placement)?);
    let _waiting = Waiting(Arc::clone(&staging));

    let mut slot = HeldSlot::obtain(&mut control, &request).await?;
    let outcome = transfer(control, &slot, &source, &request, &staging, &counters).await;
    let transferred = match outcome {
        Ok(transferred) => transferred,
        Err(error) => {
            slot.release().await;
            return Err(error);
        }
    };

    counters.enter(ClonePhase::Flushing);
    let Transferred {
        copied,
        start,
        end,
        plan,
        wal_bytes,
    } = transferred;
    let (files, bytes) = (copied.files, copied.bytes);
    let finished =
        tokio::task::spawn_blocking(move || finish(copied, plan, &staging, request.configure))
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    if let Err(error) = finished {
        slot.release().await;
        return Err(error);
    }
    slot.keep();
    counters.enter(ClonePhase::Done);
    Ok(CloneReport {
        system_identifier: source.system_identifier,
        server_version: source.version,
        start,
        end,
        files,
        bytes,
        wal_bytes,
        elapsed: started.elapsed(),
    })
}

/// Somebody who waits for a clone. What works on it in other threads goes on when he goes.
struct Waiting(Arc<Staging>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// What the source says of itself.
struct Source {
    system_identifier: SystemIdentifier,
    version: ServerVersion,
    wal_segment_bytes: u64,
    group_access: bool,
    /// Whether `synchronous_standby_names` could take our WAL connection for a standby.
    any_standby_counts: bool,
}

impl Source {
    async fn ask(
        connection: &mut ReplicationConnection,
        request: &CloneRequest,
    ) -> Result<Self, CloneError> {
        let system_identifier = connection.identify_system().await?.system_identifier;
        if let Some(expected) = request
            .system_identifier
            .filter(|it| *it != system_identifier)
        {
            return Err(CloneError::OtherCluster {
                endpoint: connection.endpoint().clone(),
                expected,
                found: system_identifier,
            });
        }
        let version = setting(connection, "server_version_num", |text| {
            text.parse().ok().map(ServerVersion)
        })
        .await?;
        version.major()?;
        Ok(Source {
            system_identifier,
            version,
            wal_segment_bytes: setting(connection, "wal_segment_size", wal_files::segment_bytes)
                .await?,
            group_access: setting(connection, "data_directory_mode", |mode| match mode {
                "0700" => Some(false),
                "0750" => Some(true),
                _ => None,
            })
            .await?,
            any_standby_counts: connection
                .show("synchronous_standby_names")
                .await?
                .contains('*'),
        })
    }
}

async fn setting<T>(
    connection: &mut ReplicationConnection,
    name: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, CloneError> {
    let value = connection.show(name).await?;
    read(&value).ok_or(CloneError::StrangeSetting { name, value })
}

/// A clone whose bytes have all arrived and been verified.
struct Transferred {
    copied: Copied,
    start: WalPosition,
    end: WalPosition,
    plan: TablespacePlan,
    wal_bytes: u64,
}

/// Receives the backup and, beside it, the WAL.
async fn transfer(
    control: ReplicationConnection,
    slot: &HeldSlot,
    source: &Source,
    request: &CloneRequest,
    staging: &Arc<Staging>,
    counters: &Arc<Counters>,
) -> Result<Transferred, CloneError> {
    counters.enter(ClonePhase::Checkpoint);
    let backup = ReplicationConnection::open(&request.source, request.peer).await?;
    let backup = backup
        .base_backup(&BaseBackup {
            label: request.label.clone(),
            checkpoint: request.checkpoint,
            manifest_checksums: request.checksums,
            rate_max_kib: request.rate_max,
        })
        .await?;
    let start = backup.start().position;
    let plan = TablespacePlan::make(&backup.start().tablespaces, request, staging)?;
    counters.expect(plan.estimated_bytes());
    counters.enter(ClonePhase::Copying);

    let flusher = Flusher::start();
    let (end_sender, end) = watch::channel(None);
    let wal = WalReceiver {
        slot: slot.name().cloned(),
        start,
        end,
        reports_position: !source.any_standby_counts,
    };
    let files = WalFiles::create(staging, source.wal_segment_bytes, start)?;
    let wal = wal.run(control, files, source.wal_segment_bytes);
    let copy = copy_and_tell_end(
        backup, end_sender, &plan, request, staging, flusher, counters,
    );
    let ((copied, end), wal_bytes) = tokio::try_join!(copy, wal)?;
    Ok(Transferred {
        copied,
        start,
        end,
        plan,
        wal_bytes,
    })
}

async fn copy_and_tell_end(
    backup: BaseBackupStream,
    end_sender: watch::Sender<Option<WalPosition>>,
    plan: &TablespacePlan,
    request: &CloneRequest,
    staging: &Arc<Staging>,
    flusher: Flusher,
    counters: &Arc<Counters>,
) -> Result<(Copied, WalPosition), CloneError> {
    let extraction = extract::Extraction::new(
        staging,
        plan,
        request.checksums,
        flusher,
        Arc::clone(counters),
    );
    let (copied, end) = copy::run(backup, extraction).await?;
    counters.enter(ClonePhase::WalTail);
    // The receiver is gone only if it has failed, which is told by it.
    let _ = end_sender.send(Some(end));
    Ok((copied, end))
}

/// Places the caller's files, makes everything durable, and gives the directories their names.
fn finish(
    copied: Copied,
    plan: TablespacePlan,
    staging: &Arc<Staging>,
    configure: Option<Configure>,
) -> Result<(), CloneError> {
    let Copied { mut flusher, .. } = copied;
    plan.link(staging)?;
    if let Some(configure) = configure {
        let files = configure(staging.data()).map_err(CloneError::Configure)?;
        for file in &files {
            request::place(file, staging, &mut flusher)?;
        }
    }
    flusher.finish()?;
    staging.flush_directories()?;
    plan.publish(staging)
}
