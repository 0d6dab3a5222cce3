//! Receives the WAL that a clone needs, while the files are copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use manada_model::{Lsn, SlotName, TimelineId, WalPosition};
use manada_wire::timestamp::Timestamp;
use manada_wire::wal_stream::{StandbyStatus, WalData};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::CloneError;
use super::wal_files::WalFiles;
use crate::replication::{ReplicationConnection, WalEvent, WalStream};

/// How often the server is told how far we are, at least.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// How many runs of WAL, of at most 128 KiB each, wait to be written.
const RUNS_MAX: usize = 64;

/// How long the rest of the WAL may take once the files are here.
const TAIL_TIME_MAX: Duration = Duration::from_secs(600);

/// The first timeline has no history.
const FIRST_TIMELINE: TimelineId = TimelineId(1);

/// What is to be received.
#[derive(Debug)]
pub(super) struct WalReceiver {
    pub(super) slot: Option<SlotName>,
    /// Where the backup's WAL begins.
    pub(super) start: WalPosition,
    /// Where it ends, once that is known.
    pub(super) end: watch::Receiver<Option<WalPosition>>,
    /// Whether the server is told what is durable, so that its slot lets go of it. Not so where
    /// the server could count us as a synchronous standby.
    pub(super) reports_position: bool,
}

impl WalReceiver {
    /// Receives until the end is known and reached. Returns how many bytes it were.
    pub(super) async fn run(
        mut self,
        mut connection: ReplicationConnection,
        files: WalFiles,
        segment_bytes: u64,
    ) -> Result<u64, CloneError> {
        let mut position = WalPosition {
            timeline: self.start.timeline,
            lsn: files.next_lsn(),
        };
        let writer = Writer::start(files);
        loop {
            if position.timeline != FIRST_TIMELINE {
                let history = connection.timeline_history(position.timeline).await?;
                writer
                    .send(Order::History(position.timeline, history))
                    .await;
            }
            let stream = connection
                .start_replication(self.slot.as_ref(), position)
                .await?;
            let mut streaming = Streaming {
                stream,
                writer: &writer,
                received_lsn: position.lsn,
                timeline: position.timeline,
                reports_position: self.reports_position,
            };
            let outcome = streaming.run(&mut self.end).await?;
            let (idle, next) = streaming.stream.stop().await?;
            match (outcome, next) {
                (Outcome::Reached, _) => {
                    idle.close().await;
                    return writer.finish().await;
                }
                (Outcome::WriterFailed, _) => {
                    return writer.finish().await;
                }
                (Outcome::TimelineEnded, Some(next)) => {
                    writer.send(Order::Switch(next)).await;
                    position = WalPosition {
                        timeline: next.timeline,
                        lsn: Lsn(next.lsn.0 - next.lsn.0 % segment_bytes),
                    };
                    connection = idle;
                }
                (Outcome::TimelineEnded, None) => {
                    return Err(CloneError::TimelineEnded {
                        timeline: position.timeline,
                    });
                }
            }
        }
    }
}

/// One timeline being streamed.
struct Streaming<'a> {
    stream: WalStream,
    writer: &'a Writer,
    received_lsn: Lsn,
    timeline: TimelineId,
    reports_position: bool,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Reached,
    TimelineEnded,
    WriterFailed,
}

impl Streaming<'_> {
    async fn run(
        &mut self,
        end: &mut watch::Receiver<Option<WalPosition>>,
    ) -> Result<Outcome, CloneError> {
        let mut status_due = tokio::time::interval(STATUS_INTERVAL);
        let mut deadline = None;
        loop {
            let end_now = *end.borrow_and_update();
            if let Some(end_now) = end_now {
                let same_timeline = end_now.timeline == self.timeline;
                if same_timeline && self.received_lsn >= end_now.lsn {
                    return Ok(Outcome::Reached);
                }
                deadline.get_or_insert_with(|| Instant::now() + TAIL_TIME_MAX);
            }
            let event = tokio::select! {
                event = within(deadline, self.stream.next_event()) => event,
                changed = end.changed(), if end_now.is_none() => match changed {
                    Ok(()) => continue,
                    // The other connection has failed, which ends us too.
                    Err(_) => std::future::pending().await,
                },
                _ = status_due.tick() => {
                    self.send_status().await?;
                    continue;
                }
            };
            let Some(event) = event else {
                return Err(CloneError::WalTailTimedOut {
                    received: self.received_lsn,
                    limit: TAIL_TIME_MAX,
                });
            };
            match event? {
                WalEvent::Data(wal) => {
                    let end_lsn = wal.start_lsn.advanced_by(wal.data.len() as u64);
                    if !self.hand_over(wal, &mut status_due).await? {
                        return Ok(Outcome::WriterFailed);
                    }
                    self.received_lsn = end_lsn;
                }
                WalEvent::Keepalive(keepalive) => {
                    if keepalive.reply_requested {
                        self.send_status().await?;
                    }
                }
                WalEvent::TimelineEnded => return Ok(Outcome::TimelineEnded),
            }
        }
    }

    /// Waits for room at the writer; the server hears of us meanwhile. Returns whether the writer
    /// takes more.
    async fn hand_over(
        &mut self,
        wal: WalData,
        status_due: &mut tokio::time::Interval,
    ) -> Result<bool, CloneError> {
        loop {
            tokio::select! {
                room = self.writer.orders.reserve() => match room {
                    Ok(room) => {
                        room.send(Order::Write(wal));
                        return Ok(true);
                    }
                    Err(_) => return Ok(false),
                },
                _ = status_due.tick() => self.send_status().await?,
            }
        }
    }

    async fn send_status(&mut self) -> Result<(), CloneError> {
        let durable_lsn = if self.reports_position {
            self.writer.durable_lsn()
        } else {
            Lsn::INVALID
        };
        let status = StandbyStatus {
            write_lsn: durable_lsn,
            flush_lsn: durable_lsn,
            replay_lsn: Lsn::INVALID,
            sent_at: Timestamp::from(SystemTime::now()),
            reply_requested: false,
        };
        Ok(self.stream.send_status(status).await?)
    }
}

/// `None` if the deadline passes first.
async fn within<T>(deadline: Option<Instant>, event: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, event).await.ok(),
        None => Some(event.await),
    }
}

enum Order {
    Write(WalData),
    History(
        TimelineId,
        manada_wire::command::timeline_history::TimelineHistoryFile,
    ),
    Switch(WalPosition),
}

/// The thread that writes WAL. It takes orders until it fails or there are no more.
struct Writer {
    orders: mpsc::Sender<Order>,
    thread: tokio::task::JoinHandle<Result<u64, CloneError>>,
    durable_lsn: Arc<AtomicU64>,
}

impl Writer {
    fn start(mut files: WalFiles) -> Self {
        let (orders, mut queue) = mpsc::channel(RUNS_MAX);
        let durable_lsn = Arc::new(AtomicU64::new(Lsn::INVALID.0));
        let durable = Arc::clone(&durable_lsn);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(order) = queue.blocking_recv() {
                match order {
                    Order::Write(wal) => {
                        if let Some(lsn) = files.write(&wal)? {
                            durable.store(lsn.0, Ordering::Relaxed);
                        }
                    }
                    Order::History(timeline, history) => files.write_history(timeline, &history)?,
                    Order::Switch(next) => files.switch(next)?,
                }
            }
            files.flush()?;
            Ok(files.written_bytes())
        });
        Writer {
            orders,
            thread,
            durable_lsn,
        }
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(self.durable_lsn.load(Ordering::Relaxed))
    }

    /// A writer that has failed is noticed when it is finished.
    async fn send(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }

    async fn finish(self) -> Result<u64, CloneError> {
        drop(self.orders);
        self.thread
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}
