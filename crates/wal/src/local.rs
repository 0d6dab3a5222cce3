//! The WAL in a data directory, looked at without its server.
//!
//! Source: `xlog_internal.h`, `xlogrecord.h` and `xlogreader.c`, the same from 15 to 18.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use manada_model::{Lsn, TimelineId};

/// The header of a record: its length, at its begin, and its checksum, at its end.
const RECORD_HEADER_BYTES: usize = 24;
const CHECKSUM_AT: usize = 20;
/// Where the record before it begins (`xl_prev`).
const PREVIOUS_AT: std::ops::Range<usize> = 8..16;
/// What a record does (`xl_info`, whose upper half counts), and to whom (`xl_rmid`).
const INFO_AT: usize = 16;
const RESOURCE_MANAGER_AT: usize = 17;
/// A record begins at a multiple of this.
const RECORD_ALIGNMENT: u64 = 8;
/// The longest record there is (`XLogRecordMaxSize`), with room for what is added to it.
const RECORD_BYTES_MAX: usize = 1 << 30;

const PAGE_HEADER_BYTES: u64 = 24;
const LONG_PAGE_HEADER_BYTES: u64 = 40;
/// Of a page's header: its flags (`xlp_info`), the one that it begins within a record
/// (`XLP_FIRST_IS_CONTRECORD`), and how much is left of that record (`xlp_rem_len`).
const PAGE_INFO_AT: usize = 2;
const FIRST_IS_CONTINUED: u8 = 1;
const CONTINUED_BYTES_AT: std::ops::Range<usize> = 16..20;

/// A `pg_wal`, and what its files are cut into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWal {
    directory: PathBuf,
    segment_bytes: u64,
    page_bytes: u64,
}

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalSegment {
    /// Its timeline.
    pub timeline: TimelineId,
    /// Where it begins.
    pub start_lsn: Lsn,
    /// The file.
    pub path: PathBuf,
}

impl LocalWal {
    /// That of a data directory.
    pub fn new(data_directory: &Path, segment_bytes: u32, page_bytes: u32) -> LocalWal {
        LocalWal {
            directory: data_directory.join("pg_wal"),
            segment_bytes: segment_bytes.into(),
            page_bytes: page_bytes.into(),
        }
    }

    /// Whether a whole and valid record begins at `lsn`, the end of another. It is looked for where
    /// recovery would: in the segment of the highest timeline.
    pub fn goes_on_at(&self, lsn: Lsn) -> io::Result<bool> {
        let start_lsn = self.segment_of(lsn);
        let segments = self.segments()?;
        let at_lsn = segments.iter().filter(|it| it.start_lsn == start_lsn);
        let Some(segment) = at_lsn.max_by_key(|it| it.timeline) else {
            return Ok(false);
        };
        let mut reader = RecordReader {
            wal: self,
            timeline: segment.timeline,
            at: lsn.0,
            began: 0,
            file: None,
        };
        match reader.record()? {
            Some(record) => self.follows(segment.timeline, &record, lsn.0),
            None => Ok(false),
        }
    }

    /// Whether the record before `record`, by what that says, ends where it begins. In a file that
    /// a clone or a rewind has left, whole records of another history lie behind the end.
    fn follows(&self, timeline: TimelineId, record: &[u8], begin: u64) -> io::Result<bool> {
        let previous = previous(record);
        if previous >= begin {
            return Ok(false);
        }
        let mut reader = RecordReader {
            wal: self,
            timeline,
            at: previous,
            began: 0,
            file: None,
        };
        let start = self.segment_of(Lsn(begin));
        let Some(previous_record) = reader.record()? else {
            // It can lie in a file of an earlier timeline, or in one that is gone: then this is the
            // first that begins in its segment. Behind what was received into a file that is used
            // again lie records of the segment which that was before.
            return Ok(self.segment_of(Lsn(previous)) != start
                && self.begins_first(timeline, start.0, begin)?);
        };
        let end = if is_switch(&previous_record) {
            reader.at.next_multiple_of(self.segment_bytes)
        } else {
            reader.at.next_multiple_of(RECORD_ALIGNMENT)
        };
        let header_bytes = begin.saturating_sub(end);
        let behind_header = end.is_multiple_of(self.page_bytes)
            && [PAGE_HEADER_BYTES, LONG_PAGE_HEADER_BYTES].contains(&header_bytes);
        Ok(begin == end || behind_header)
    }

    /// Whether the first record that begins in the segment at `start` begins at `begin`.
    fn begins_first(&self, timeline: TimelineId, start: u64, begin: u64) -> io::Result<bool> {
        let mut reader = RecordReader {
            wal: self,
            timeline,
            at: start,
            began: 0,
            file: None,
        };
        let Some(continued) = reader.continued_bytes(start)? else {
            return Ok(false);
        };
        if continued == 0 {
            return Ok([start, start + LONG_PAGE_HEADER_BYTES].contains(&begin));
        }
        if !reader.take(continued, &mut Vec::new())? {
            return Ok(false);
        }
        let end = reader.at.next_multiple_of(RECORD_ALIGNMENT);
        let behind_header = end.is_multiple_of(self.page_bytes) && begin == end + PAGE_HEADER_BYTES;
        Ok(begin == end || behind_header)
    }

    /// Where the valid records end that follow on `timeline` from `lsn` on, the end of another.
    pub fn end_behind(&self, timeline: TimelineId, lsn: Lsn) -> io::Result<Lsn> {
        let mut reader = RecordReader {
            wal: self,
            timeline,
            at: lsn.0,
            began: 0,
            file: None,
        };
        let (mut end, mut last) = (lsn, None);
        while let Some(record) = reader.record()? {
            let follows = match last {
                Some(last) => previous(&record) == last,
                None => self.follows(timeline, &record, lsn.0)?,
            };
            if !follows {
                break;
            }
            last = Some(reader.began);
            reader.at = reader.at.next_multiple_of(RECORD_ALIGNMENT);
            end = Lsn(reader.at);
        }
        Ok(end)
    }

    /// Whether a segment has been written to: one that is kept for later use has the content of the
    /// one it was before, or none.
    pub fn is_written(&self, segment: &LocalSegment) -> io::Result<bool> {
        let mut reader = RecordReader {
            wal: self,
            timeline: segment.timeline,
            at: segment.start_lsn.0,
            began: 0,
            file: None,
        };
        Ok(reader.page_header(segment.start_lsn.0)?.is_some())
    }

    /// The segments that are there, in the order of timeline and position. Files that recovery
    /// doesn't read, `.partial` ones and histories, are left out.
    pub fn segments(&self) -> io::Result<Vec<LocalSegment>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Some(segment) = self.segment(&entry.path()) {
                segments.push(segment);
            }
        }
        segments.sort();
        Ok(segments)
    }

    /// Where the segment begins that holds `lsn`.
    pub fn segment_of(&self, lsn: Lsn) -> Lsn {
        Lsn(lsn.0 / self.segment_bytes * self.segment_bytes)
    }

    fn segment(&self, path: &Path) -> Option<LocalSegment> {
        let name = path.file_name()?.to_str()?;
        if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |range| u32::from_str_radix(&name[range], 16).ok();
        let number = u64::from(part(8..16)?) * self.segments_in_4_gib() + u64::from(part(16..24)?);
        Some(LocalSegment {
            timeline: TimelineId(part(0..8)?),
            start_lsn: Lsn(number.checked_mul(self.segment_bytes)?),
            path: path.to_path_buf(),
        })
    }

    fn file_name(&self, timeline: TimelineId, lsn: u64) -> String {
        let number = lsn / self.segment_bytes;
        let per_4_gib = self.segments_in_4_gib();
        let (high, low) = (number / per_4_gib, number % per_4_gib);
        format!("{:08X}{high:08X}{low:08X}", timeline.0)
    }

    fn segments_in_4_gib(&self) -> u64 {
        (1 << 32) / self.segment_bytes
    }
}

/// Where the record before this one begins.
fn previous(record: &[u8]) -> u64 {
    let bytes = record[PREVIOUS_AT].try_into();
    u64::from_le_bytes(bytes.expect("eight bytes"))
}

/// Whether the rest of the record's segment is left empty: `XLOG_SWITCH` of the manager XLOG.
fn is_switch(record: &[u8]) -> bool {
    record[INFO_AT] & 0xf0 == 0x40 && record[RESOURCE_MANAGER_AT] == 0
}

/// Reads one record across the pages that it lies on.
struct RecordReader<'a> {
    wal: &'a LocalWal,
    timeline: TimelineId,
    at: u64,
    /// Where the last record that was read begins, behind a page's header.
    began: u64,
    file: Option<(u64, File)>,
}

impl RecordReader<'_> {
    /// The record's bytes, header included, if its checksum is right.
    fn record(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        self.began = self.at;
        if self.at.is_multiple_of(self.wal.page_bytes) {
            self.began += self.page_header(self.at)?.unwrap_or_default();
        }
        if !self.take(RECORD_HEADER_BYTES, &mut record)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(RECORD_HEADER_BYTES..=RECORD_BYTES_MAX).contains(&length)
            || !self.take(length - RECORD_HEADER_BYTES, &mut record)?
        {
            return Ok(None);
        }
        let (header, data) = record.split_at(RECORD_HEADER_BYTES);
        let (covered, stored) = header.split_at(CHECKSUM_AT);
        let found = crc32c::crc32c_append(crc32c::crc32c(data), covered);
        Ok((found.to_le_bytes() == stored).then_some(record))
    }

    /// Appends the next `count` bytes of the record; false where a page is not of this WAL.
    fn take(&mut self, mut count: usize, record: &mut Vec<u8>) -> io::Result<bool> {
        while count > 0 {
            let page_start = self.at / self.wal.page_bytes * self.wal.page_bytes;
            if self.at == page_start {
                let Some(header_bytes) = self.page_header(page_start)? else {
                    return Ok(false);
                };
                self.at += header_bytes;
            }
            let left = usize::try_from(page_start + self.wal.page_bytes - self.at).unwrap_or(0);
            let part = count.min(left);
            let mut bytes = vec![0; part];
            if !self.read(self.at, &mut bytes)? {
                return Ok(false);
            }
            record.extend_from_slice(&bytes);
            self.at += part as u64;
            count -= part;
        }
        Ok(true)
    }

    /// How long the page's header is, if the page was written for this very place: a segment that is
    /// used again still has its former content.
    fn page_header(&mut self, page_start: u64) -> io::Result<Option<u64>> {
        let mut header = [0; 16];
        if !self.read(page_start, &mut header)? {
            return Ok(None);
        }
        let address = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        let is_first = page_start.is_multiple_of(self.wal.segment_bytes);
        let length = if is_first {
            LONG_PAGE_HEADER_BYTES
        } else {
            PAGE_HEADER_BYTES
        };
        Ok((address == page_start).then_some(length))
    }

    /// How many bytes on that page and those behind belong to a record that began before it.
    fn continued_bytes(&mut self, page_start: u64) -> io::Result<Option<usize>> {
        let mut header = [0; PAGE_HEADER_BYTES as usize];
        if self.page_header(page_start)?.is_none() || !self.read(page_start, &mut header)? {
            return Ok(None);
        }
        let continues = header[PAGE_INFO_AT] & FIRST_IS_CONTINUED != 0;
        let bytes = header[CONTINUED_BYTES_AT].try_into().expect("four bytes");
        let bytes = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        if bytes > RECORD_BYTES_MAX {
            return Ok(None);
        }
        Ok(Some(if continues { bytes } else { 0 }))
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<bool> {
        let start = at / self.wal.segment_bytes * self.wal.segment_bytes;
        if self.file.as_ref().is_none_or(|(open, _)| *open != start) {
            let path = self
                .wal
                .directory
                .join(self.wal.file_name(self.timeline, at));
            match File::open(path) {
                Ok(file) => self.file = Some((start, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        let Some((_, file)) = &self.file else {
            return Ok(false);
        };
        match file.read_exact_at(bytes, at - start) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u32 = 1 << 20;
    const PAGE: u32 = 8192;

    /// A record of `length` bytes that begins at `at`, behind one that began in a file that is gone,
    /// in pages of their own around it.
    fn write_record(directory: &Path, at: u64, length: usize) -> LocalWal {
        let wal = LocalWal::new(directory, SEGMENT, PAGE);
        std::fs::create_dir_all(&wal.directory).expect("made");
        let mut record = vec![7_u8; length];
        record[PREVIOUS_AT].fill(0);
        record[0..4].copy_from_slice(&u32::try_from(length).expect("short").to_le_bytes());
        let checksum = crc32c::crc32c_append(
            crc32c::crc32c(&record[RECORD_HEADER_BYTES..]),
            &record[..CHECKSUM_AT],
        );
        record[CHECKSUM_AT..RECORD_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        let start = at / u64::from(SEGMENT) * u64::from(SEGMENT);
        let mut bytes = vec![0_u8; 2 * SEGMENT as usize];
        for page in (0..bytes.len()).step_by(PAGE as usize) {
            let address = start + page as u64;
            bytes[page + 8..page + 16].copy_from_slice(&address.to_le_bytes());
        }
        let mut to = usize::try_from(at - start).expect("small");
        for byte in record {
            if to.is_multiple_of(PAGE as usize) {
                let first = to.is_multiple_of(SEGMENT as usize);
                to += if first { 40 } else { 24 };
            }
            bytes[to] = byte;
            to += 1;
        }
        let timeline = TimelineId(1);
        for (number, half) in bytes.chunks(SEGMENT as usize).enumerate() {
            let name = wal.file_name(timeline, start + number as u64 * u64::from(SEGMENT));
            std::fs::write(wal.directory.join(name), half).expect("written");
        }
        let headers = PAGE_HEADER_BYTES * ((at - start).saturating_sub(1) / u64::from(PAGE));
        let before = (at - start).saturating_sub(LONG_PAGE_HEADER_BYTES + headers);
        continue_on(
            &wal,
            start,
            u32::try_from(before).expect("less than a segment"),
        );
        wal
    }

    #[test]
    fn a_record_is_found_wherever_pages_and_segments_cut_it() {
        let second_page_of_fifth_segment = (5 << 20) + 8192;
        for (at, length) in [
            ((5 << 20) + 200, 24),
            ((5 << 20) + 200, 9000),
            (second_page_of_fifth_segment, 100),
            ((6 << 20) - 64, 30_000),
            ((6 << 20) - 8, 64),
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            let wal = write_record(directory.path(), at, length);
            assert!(wal.goes_on_at(Lsn(at)).expect("readable"), "{at} {length}");
            assert!(!wal.goes_on_at(Lsn(at + 8)).expect("readable"));
            let end = wal.end_behind(TimelineId(1), Lsn(at)).expect("readable");
            assert!(end.bytes_since(Lsn(at)) >= length as u64, "{end}");
            assert_eq!(wal.end_behind(TimelineId(1), end).expect("readable"), end);
        }
    }

    #[test]
    fn a_record_that_is_cut_off_or_stale_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = (6 << 20) - 64;
        let wal = write_record(directory.path(), at, 30_000);
        let segments = wal.segments().expect("listed");
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1].start_lsn, Lsn(6 << 20));
        // Used again for another place.
        let stale = std::fs::read(&segments[0].path).expect("there");
        assert!(wal.is_written(&segments[1]).expect("readable"));
        std::fs::write(&segments[1].path, stale).expect("written");
        assert!(!wal.is_written(&segments[1]).expect("readable"));
        assert!(!wal.goes_on_at(Lsn(at)).expect("readable"));
        std::fs::remove_file(&segments[1].path).expect("removed");
        assert!(!wal.goes_on_at(Lsn(at)).expect("readable"));
        assert!(!wal.goes_on_at(Lsn(9 << 20)).expect("readable"));
    }

    /// Writes a record of 64 bytes at `at` into the segment that is there.
    fn add_record(wal: &LocalWal, at: u64, previous: u64) {
        let mut record = vec![9_u8; 64];
        record[0..4].copy_from_slice(&64_u32.to_le_bytes());
        record[PREVIOUS_AT].copy_from_slice(&previous.to_le_bytes());
        let checksum = crc32c::crc32c_append(
            crc32c::crc32c(&record[RECORD_HEADER_BYTES..]),
            &record[..CHECKSUM_AT],
        );
        record[CHECKSUM_AT..RECORD_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        let file = wal.directory.join(wal.file_name(TimelineId(1), at));
        let mut bytes = std::fs::read(&file).expect("there");
        let place = usize::try_from(at % u64::from(SEGMENT)).expect("small");
        bytes[place..place + record.len()].copy_from_slice(&record);
        std::fs::write(&file, bytes).expect("written");
    }

    /// Says in the header of the page at `at` that a record of the segment before goes on there.
    fn continue_on(wal: &LocalWal, at: u64, bytes: u32) {
        let file = wal.directory.join(wal.file_name(TimelineId(1), at));
        let mut page = std::fs::read(&file).expect("there");
        page[PAGE_INFO_AT] |= FIRST_IS_CONTINUED;
        page[CONTINUED_BYTES_AT].copy_from_slice(&bytes.to_le_bytes());
        std::fs::write(&file, page).expect("written");
    }

    #[test]
    fn a_record_of_a_segment_that_was_used_again_does_not_go_on() {
        // Behind the first record of the segment, in one page with it, lies one that was there
        // before: what it says to follow is in a file that is gone.
        let directory = tempfile::tempdir().expect("a directory");
        let first = (5 << 20) + 40;
        let wal = write_record(directory.path(), first, 120);
        let gone = (2 << 20) + 4096;
        let stale = first + 120;
        add_record(&wal, stale, gone);
        assert!(!wal.goes_on_at(Lsn(stale)).expect("readable"));
        let end = wal.end_behind(TimelineId(1), Lsn(stale)).expect("readable");
        assert_eq!(end, Lsn(stale));

        // The first of the segment does, whatever has become of the file before.
        add_record(&wal, first, gone);
        assert!(wal.goes_on_at(Lsn(first)).expect("readable"));
        assert!(wal.goes_on_at(Lsn(5 << 20)).expect("readable"));
    }

    #[test]
    fn the_first_record_behind_one_that_began_in_a_lost_file_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let start = 5 << 20;
        let gone = (5 << 20) - 4096;
        for (continued, begin) in [
            (100, start + 40 + 104),
            // Its end fills the first page, or goes on to the second.
            (8152, start + 8192),
            (8152 + 10, start + 8192 + 24 + 16),
        ] {
            let wal = write_record(directory.path(), begin + 4096, 64);
            continue_on(&wal, start, continued);
            let at_header = begin.is_multiple_of(8192);
            add_record(&wal, if at_header { begin + 24 } else { begin }, gone);
            assert!(wal.goes_on_at(Lsn(begin)).expect("readable"), "{continued}");
            add_record(&wal, begin + 512, gone);
            assert!(!wal.goes_on_at(Lsn(begin + 512)).expect("readable"));
        }
    }

    #[test]
    fn a_whole_record_of_another_history_does_not_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = (5 << 20) + 200;
        let wal = write_record(directory.path(), first, 64);
        let second = first + 64;
        add_record(&wal, second, first);
        assert!(wal.goes_on_at(Lsn(second)).expect("readable"));
        let end = wal.end_behind(TimelineId(1), Lsn(first)).expect("readable");
        assert_eq!(end, Lsn(second + 64));

        // Its checksum is right; the record before it began elsewhere.
        add_record(&wal, second, first + 8);
        assert!(!wal.goes_on_at(Lsn(second)).expect("readable"));
        for from in [first, second] {
            let end = wal.end_behind(TimelineId(1), Lsn(from)).expect("readable");
            assert_eq!(end, Lsn(second));
        }
    }
}
