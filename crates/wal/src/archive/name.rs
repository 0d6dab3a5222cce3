//! The names of files in `pg_wal` and in archives. Nothing else is taken as a name.

use std::fmt;
use std::str::FromStr;

use manada_model::{Lsn, TimelineId};

/// The name of a WAL file, in PostgreSQL's own grammar (`xlog_internal.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalFileName {
    /// `000000010000000000000003`.
    Segment(SegmentName),
    /// `000000010000000000000003.partial`: what a promoted standby had of its former timeline.
    Partial(SegmentName),
    /// `00000002.history`.
    History(TimelineId),
    /// `000000010000000000000003.00000028.backup`.
    BackupHistory {
        /// The segment in which the backup began.
        segment: SegmentName,
        /// The offset in it at which it began.
        offset: u32,
    },
}

/// The name of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName {
    timeline: TimelineId,
    high: u32,
    low: u32,
}

/// The text names no WAL file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of a WAL file like 000000010000000000000003 or 00000002.history")]
pub struct InvalidWalFileName {
    text: String,
}

impl InvalidWalFileName {
    pub(super) fn new(text: &str) -> InvalidWalFileName {
        InvalidWalFileName {
            text: text.chars().take(80).collect(),
        }
    }
}

impl SegmentName {
    /// The timeline the segment was written on.
    pub fn timeline(self) -> TimelineId {
        self.timeline
    }

    /// Where the segment begins, if segments are that long; `None` if such a segment can't have
    /// this name.
    pub fn start_lsn(self, segment_bytes: u32) -> Option<Lsn> {
        let segments_per_high = (1_u64 << 32) / u64::from(segment_bytes);
        (u64::from(self.low) < segments_per_high).then(|| {
            Lsn((u64::from(self.high) << 32) + u64::from(self.low) * u64::from(segment_bytes))
        })
    }

    fn parse(text: &str) -> Option<SegmentName> {
        let part = |range| hexadecimal(text.get(range)?);
        let name = SegmentName {
            timeline: TimelineId(part(0..8)?),
            high: part(8..16)?,
            low: part(16..24)?,
        };
        (text.len() == 24).then_some(name)
    }
}

impl WalFileName {
    /// The segment, where the file is one, whole or partial.
    pub fn segment(self) -> Option<SegmentName> {
        match self {
            WalFileName::Segment(segment) | WalFileName::Partial(segment) => Some(segment),
            WalFileName::History(_) | WalFileName::BackupHistory { .. } => None,
        }
    }
}

/// Eight digits as PostgreSQL prints them: upper case.
fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.len() == 8
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl FromStr for WalFileName {
    type Err = InvalidWalFileName;

    fn from_str(text: &str) -> Result<WalFileName, InvalidWalFileName> {
        let mut parts = text.split('.');
        let parsed = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(segment), None, None, None) => {
                SegmentName::parse(segment).map(WalFileName::Segment)
            }
            (Some(segment), Some("partial"), None, None) => {
                SegmentName::parse(segment).map(WalFileName::Partial)
            }
            (Some(timeline), Some("history"), None, None) => {
                hexadecimal(timeline).map(|number| WalFileName::History(TimelineId(number)))
            }
            (Some(segment), Some(offset), Some("backup"), None) => SegmentName::parse(segment)
                .zip(hexadecimal(offset))
                .map(|(segment, offset)| WalFileName::BackupHistory { segment, offset }),
            // Foreign text: no other number of parts is a name.
            _ => None,
        };
        parsed.ok_or_else(|| InvalidWalFileName::new(text))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08X}{:08X}{:08X}",
            self.timeline.0, self.high, self.low
        )
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalFileName::Segment(segment) => write!(f, "{segment}"),
            WalFileName::Partial(segment) => write!(f, "{segment}.partial"),
            WalFileName::History(timeline) => write!(f, "{:08X}.history", timeline.0),
            WalFileName::BackupHistory { segment, offset } => {
                write!(f, "{segment}.{offset:08X}.backup")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_wal_file_has_no_name() {
        for text in [
            "",
            ".",
            "..",
            "../000000010000000000000003",
            "/etc/passwd",
            "000000010000000000000003/",
            "00000001000000000000000g",
            "00000001000000000000000a",
            "0000000100000000000000030",
            "00000001000000000000000",
            "000000010000000000000003.partial.partial",
            "000000010000000000000003.tmp",
            "000000010000000000000003.28.backup",
            "2.history",
            "00000002.history\n",
            "+0000002.history",
            "00000001000000000000000é",
            "RECOVERYXLOG",
        ] {
            assert!(text.parse::<WalFileName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_segments_name_tells_where_it_begins() {
        let start = |text: &str, bytes| {
            let name: WalFileName = text.parse().expect("a name");
            name.segment().expect("a segment").start_lsn(bytes)
        };
        let mib = 1 << 20;
        let name = "000000010000000A000000FE";
        assert_eq!(start(name, 16 * mib), Some(Lsn(0xA_FE00_0000)));
        assert_eq!(start(name, mib), Some(Lsn(0xA_0FE0_0000)));
        assert_eq!(start(name, 64 * mib), None, "there are only 0x40 of these");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(timeline: u32, high: u32, low: u32, offset: u32, kind in 0..4) {
            let segment = SegmentName { timeline: TimelineId(timeline), high, low };
            let name = match kind {
                0 => WalFileName::Segment(segment),
                1 => WalFileName::Partial(segment),
                2 => WalFileName::History(TimelineId(timeline)),
                _ => WalFileName::BackupHistory { segment, offset },
            };
            prop_assert_eq!(name.to_string().parse::<WalFileName>(), Ok(name));
        }

        #[test]
        fn a_name_that_is_taken_is_only_a_name(text in "[0-9A-F]{8,24}(\\.[a-z0-9]{0,8}){0,3}|\\PC{0,40}") {
            if let Ok(name) = text.parse::<WalFileName>() {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(!text.contains('/') && !text.starts_with('.'));
            }
        }

        #[test]
        fn segments_lie_one_after_the_other(high: u32, low in 0..0x100_u32) {
            let bytes = 1 << 24;
            let segment = SegmentName { timeline: TimelineId(1), high, low };
            let start = segment.start_lsn(bytes).expect("such a name");
            prop_assert_eq!(start.0 % u64::from(bytes), 0);
            prop_assert_eq!(start.0 / u64::from(bytes), u64::from(high) * 0x100 + u64::from(low));
        }
    }
}
