//! Moves a base backup from its connection to the thread that writes it.

use bytes::Bytes;
use manada_model::WalPosition;
use tokio::sync::mpsc;

use super::CloneError;
use super::error::StreamFault;
use super::extract::Extraction;
use super::flusher::Flusher;
use crate::replication::BaseBackupStream;

/// How many batches wait to be written. A batch is what one read from the socket brings, at most
/// [`READ_BYTES`](manada_wire::frame::READ_BYTES) and a message.
const BATCHES_MAX: usize = 32;

/// A backup whose files have all been written and verified; some are still being flushed.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) flusher: Flusher,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

enum Piece {
    Batch(Vec<Bytes>),
    /// The server said that it was all. A queue that ends without it was abandoned.
    End,
}

/// Receives a base backup into `extraction`.
pub(super) async fn run(
    mut backup: BaseBackupStream,
    extraction: Extraction,
) -> Result<(Copied, WalPosition), CloneError> {
    let (queue, pieces) = mpsc::channel(BATCHES_MAX);
    let writer = tokio::task::spawn_blocking(move || write(extraction, pieces));
    let receiving = async {
        let mut more = true;
        while more {
            let mut batch = Vec::new();
            more = backup.next_batch(&mut batch).await?;
            if queue.send(Piece::Batch(batch)).await.is_err() {
                // The writer has failed; it says why.
                return Ok(None);
            }
        }
        let end = backup.finish().await?;
        // A writer that has failed says why.
        let _ = queue.send(Piece::End).await;
        Ok::<_, CloneError>(Some(end))
    };
    let received = receiving.await;
    drop(queue);
    let written = writer
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    match (received, written) {
        (Ok(Some(end)), Ok(copied)) => Ok((copied, end)),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        (Ok(None), Ok(_)) => unreachable!("the writer ends early only with an error"),
    }
}

fn write(
    mut extraction: Extraction,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Copied, CloneError> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Batch(batch) => batch
                .into_iter()
                .try_for_each(|copy_data| extraction.take(copy_data))?,
            Piece::End => return extraction.finish(),
        }
    }
    Err(StreamFault::Abandoned.into())
}
