//! The clone's `pg_wal`: segments, and timeline histories.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use manada_model::{Lsn, TimelineId, WalPosition};
use manada_wire::command::timeline_history::TimelineHistoryFile;
use manada_wire::wal_stream::WalData;
use rustix::fs::{FallocateFlags, fallocate};

use super::CloneError;
use super::staging::{Staging, flush_directory};

/// What PostgreSQL allows as `wal_segment_size`, in bytes.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 30;

/// Reads the answer to `SHOW wal_segment_size`, such as `16MB`.
pub(super) fn segment_bytes(text: &str) -> Option<u64> {
    let bytes = match text.strip_suffix("MB") {
        Some(number) => number.parse::<u64>().ok()?.checked_mul(1 << 20)?,
        None => text
            .strip_suffix("GB")?
            .parse::<u64>()
            .ok()?
            .checked_mul(1 << 30)?,
    };
    (SEGMENT_BYTES.contains(&bytes) && bytes.is_power_of_two()).then_some(bytes)
}

/// Writes WAL as it comes, each complete segment durable before the next begins.
#[derive(Debug)]
pub(super) struct WalFiles {
    /// Keeps the directory while there is something to write.
    staging: Arc<Staging>,
    directory: PathBuf,
    segment_bytes: u64,
    timeline: TimelineId,
    next_lsn: Lsn,
    segment: Option<Segment>,
    written_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    end_lsn: Lsn,
}

impl WalFiles {
    /// Makes `pg_wal`. The first WAL is that of the segment in which `start` lies.
    pub(super) fn create(
        staging: &Arc<Staging>,
        segment_bytes: u64,
        start: WalPosition,
    ) -> Result<Self, CloneError> {
        let directory = staging.data().join("pg_wal");
        staging.create_directory(&directory)?;
        staging.create_directory(&directory.join("archive_status"))?;
        Ok(WalFiles {
            staging: Arc::clone(staging),
            directory,
            segment_bytes,
            timeline: start.timeline,
            next_lsn: segment_start(start.lsn, segment_bytes),
            segment: None,
            written_bytes: 0,
        })
    }

    /// Where the next WAL belongs.
    pub(super) fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    /// Bytes written so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes WAL, which must follow what was written before. Returns the position up to which
    /// everything is durable, if that has moved.
    pub(super) fn write(&mut self, wal: &WalData) -> Result<Option<Lsn>, CloneError> {
        if wal.start_lsn != self.next_lsn {
            return Err(CloneError::WalGap {
                expected: self.next_lsn,
                found: wal.start_lsn,
            });
        }
        let mut durable = None;
        let mut rest = &wal.data[..];
        while !rest.is_empty() {
            let segment = match self.segment.take() {
                Some(segment) => segment,
                None => self.open_segment()?,
            };
            let room = segment.end_lsn.bytes_since(self.next_lsn);
            let taken = usize::try_from(room).map_or(rest.len(), |room| room.min(rest.len()));
            let (now, later) = rest.split_at(taken);
            segment
                .file
                .write_all_at(now, self.next_lsn.0 % self.segment_bytes)
                .map_err(|error| CloneError::io("writing", &segment.path, error))?;
            rest = later;
            self.next_lsn = self.next_lsn.advanced_by(taken as u64);
            self.written_bytes += taken as u64;
            if self.next_lsn == segment.end_lsn {
                flush(&segment)?;
                self.mark_archived(&segment_name(
                    self.timeline,
                    Lsn(segment.end_lsn.0 - self.segment_bytes),
                    self.segment_bytes,
                ))?;
                durable = Some(self.next_lsn);
            } else {
                self.segment = Some(segment);
            }
        }
        Ok(durable)
    }

    /// Goes on with another timeline, from the beginning of the segment in which it begins.
    pub(super) fn switch(&mut self, next: WalPosition) -> Result<(), CloneError> {
        self.flush()?;
        self.timeline = next.timeline;
        self.next_lsn = segment_start(next.lsn, self.segment_bytes);
        self.segment = None;
        Ok(())
    }

    /// Writes a timeline's history.
    pub(super) fn write_history(
        &self,
        timeline: TimelineId,
        history: &TimelineHistoryFile,
    ) -> Result<(), CloneError> {
        let name = TimelineHistoryFile::file_name(timeline);
        let path = self.directory.join(&name);
        let mut file = self.staging.placement().create_file(&path, 0)?;
        file.write_all(&history.content)
            .and_then(|()| file.sync_all())
            .map_err(|error| CloneError::io("writing", &path, error))?;
        self.mark_archived(&name)
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) -> Result<(), CloneError> {
        if let Some(segment) = &self.segment {
            flush(segment)?;
        }
        flush_directory(&self.directory)
    }

    /// Makes the next segment, all zeros: a segment has its full length from the beginning, and
    /// its room on the disk.
    fn open_segment(&self) -> Result<Segment, CloneError> {
        let name = segment_name(self.timeline, self.next_lsn, self.segment_bytes);
        let path = self.directory.join(name);
        let file = self.staging.placement().create_file(&path, 0)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.segment_bytes)
            .or_else(|_| rustix::fs::ftruncate(&file, self.segment_bytes))
            .map_err(|error| CloneError::io("allocating", &path, error.into()))?;
        flush_directory(&self.directory)?;
        let start = segment_start(self.next_lsn, self.segment_bytes);
        Ok(Segment {
            path,
            file,
            end_lsn: start.advanced_by(self.segment_bytes),
        })
    }

    /// A promoted clone must not archive again what the source archives.
    fn mark_archived(&self, name: &str) -> Result<(), CloneError> {
        let path = self
            .directory
            .join("archive_status")
            .join(format!("{name}.done"));
        let file = self.staging.placement().create_file(&path, 0)?;
        file.sync_all()
            .map_err(|error| CloneError::io("flushing", &path, error))
    }
}

fn flush(segment: &Segment) -> Result<(), CloneError> {
    segment
        .file
        .sync_all()
        .map_err(|error| CloneError::io("flushing", &segment.path, error))
}

fn segment_start(lsn: Lsn, segment_bytes: u64) -> Lsn {
    Lsn(lsn.0 - lsn.0 % segment_bytes)
}

/// The name of the segment in which `lsn` lies (`XLogFileName` in xlog_internal.h).
fn segment_name(timeline: TimelineId, lsn: Lsn, segment_bytes: u64) -> String {
    let number = lsn.0 / segment_bytes;
    let per_id = (1 << 32) / segment_bytes;
    let (id, within) = (number / per_id, number % per_id);
    format!("{:08X}{id:08X}{within:08X}", timeline.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_named_as_postgresql_does() {
        for (lsn, segment_bytes, name) in [
            (0x16_B374_D848, 16 << 20, "0000000100000016000000B3"),
            (0x0200_0000, 16 << 20, "000000010000000000000002"),
            (0x16_B374_D848, 1 << 30, "000000010000001600000002"),
            (0xFFFF_FFFF, 1 << 20, "000000010000000000000FFF"),
        ] {
            assert_eq!(segment_name(TimelineId(1), Lsn(lsn), segment_bytes), name);
        }
    }

    #[test]
    fn only_segment_sizes_of_postgresql_are_read() {
        assert_eq!(segment_bytes("16MB"), Some(16 << 20));
        assert_eq!(segment_bytes("1GB"), Some(1 << 30));
        for text in [
            "",
            "MB",
            "0MB",
            "3MB",
            "2GB",
            "16777216",
            "17592186044416MB",
        ] {
            assert_eq!(segment_bytes(text), None, "{text}");
        }
    }
}
