//! WAL that a server received as a standby, and took for archived.

use std::fs;
use std::io;
use std::path::Path;

use manada_model::{Lsn, TimelineHistory};

use super::name::WalFileName;

/// Where the server notes what is archived, and what has yet to be.
const STATUS: &str = "pg_wal/archive_status";

/// Has the server of a data directory archive what it received on the way to `history`'s timeline.
///
/// A standby takes whole segments that it receives for archived, since its primary sees to that
/// (`XLogArchiveForceDone` in `xlogarchive.c`). Once that primary is lost, nobody knows whether it
/// did. An archive that has them takes them twice. Only what belongs to the history is offered: of
/// a segment in which a timeline was left, the server keeps a `.partial`. Says how many files.
pub fn archive_received(
    data_directory: &Path,
    history: &TimelineHistory,
    segment_bytes: u32,
) -> io::Result<usize> {
    let status = data_directory.join(STATUS);
    let mut count = 0;
    for entry in fs::read_dir(&status)? {
        let entry = entry?.file_name();
        let Some(text) = entry.to_str().and_then(|text| text.strip_suffix(".done")) else {
            continue;
        };
        let is_received = text
            .parse()
            .is_ok_and(|name| is_before(name, history, segment_bytes));
        if !is_received {
            continue;
        }
        let done = status.join(&entry);
        match fs::rename(done, status.join(format!("{text}.ready"))) {
            Ok(()) => count += 1,
            // The server has recycled the segment meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Whether all of a file is WAL, or a history, of a timeline that led here.
fn is_before(name: WalFileName, history: &TimelineHistory, segment_bytes: u32) -> bool {
    match name {
        WalFileName::Segment(segment) => {
            let end = segment
                .start_lsn(segment_bytes)
                .map(|start| Lsn(start.0.saturating_add(u64::from(segment_bytes))));
            history
                .left_at(segment.timeline())
                .zip(end)
                .is_some_and(|(left_at, end)| end <= left_at)
        }
        WalFileName::History(timeline) => history.left_at(timeline).is_some(),
        WalFileName::Partial(_) | WalFileName::BackupHistory { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_model::TimelineId;

    const SEGMENT: u32 = 16 << 20;

    #[test]
    fn what_led_here_is_archived_again_and_nothing_else() {
        let data = tempfile::tempdir().expect("a directory");
        let status = data.path().join(STATUS);
        fs::create_dir_all(&status).expect("made");
        let history = "1\t0/5000028\tno recovery target specified\n\
                       2\t0/8000000\tno recovery target specified\n";
        let history = TimelineHistory::parse(TimelineId(3), history).expect("a history");
        let again = [
            "000000010000000000000003",
            "000000010000000000000004",
            // Timeline 2 was left at the very end of this one.
            "000000020000000000000007",
            "00000002.history",
        ];
        let not_again = [
            // Timeline 1 was left in the midst of it.
            "000000010000000000000005",
            "000000010000000000000006",
            "000000010000000000000005.partial",
            "000000020000000000000008",
            "000000030000000000000008",
            "00000003.history",
            "000000010000000000000003.00000028.backup",
            "elsewhere",
        ];
        for name in again.iter().chain(&not_again) {
            fs::write(status.join(format!("{name}.done")), "").expect("written");
        }
        let count = archive_received(data.path(), &history, SEGMENT).expect("done");
        assert_eq!(count, again.len());
        for name in again {
            assert!(status.join(format!("{name}.ready")).exists(), "{name}");
        }
        for name in not_again {
            assert!(status.join(format!("{name}.done")).exists(), "{name}");
        }
        let none = archive_received(data.path(), &history, SEGMENT).expect("done");
        assert_eq!(none, 0);
    }
}
