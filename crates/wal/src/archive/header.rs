//! The long header in a WAL segment's first page: what the segment says it is.
//!
//! Source: `XLogLongPageHeaderData` in `xlog_internal.h`, the same from 15 to 18 but for the
//! magic number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use manada_model::{Lsn, SystemIdentifier, TimelineId};

use super::Cluster;
use super::name::{SegmentName, WalFileName};

/// The header's length.
const HEADER_BYTES: usize = 40;

/// `XLOG_PAGE_MAGIC` of 15, 16, 17 and 18.
const MAGICS: [u16; 4] = [0xD110, 0xD113, 0xD116, 0xD118];

/// `XLP_LONG_HEADER`.
const LONG_HEADER: u16 = 0x0002;

/// A file is not the segment that its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Too short to be a segment.
    #[error("it has only {bytes} bytes, less than a segment's header")]
    TooShort {
        /// Its length.
        bytes: u64,
    },
    /// It does not begin as WAL of a supported version does.
    #[error(
        "it does not begin as a WAL segment of PostgreSQL 15 to 18 does (page magic {magic:04X})"
    )]
    NotWal {
        /// The number found.
        magic: u16,
    },
    /// It is shorter or longer than a segment.
    #[error("it has {bytes} bytes, a segment of its cluster has {segment_bytes}")]
    Length {
        /// Its length.
        bytes: u64,
        /// What it should be.
        segment_bytes: u32,
    },
    /// The segment size in it is none.
    #[error("its header says segments have {segment_bytes} bytes, which is no segment size")]
    SegmentSize {
        /// The size in it.
        segment_bytes: u32,
    },
    /// It is another segment.
    #[error("it begins at {found}, which is not where a segment of its name does")]
    Position {
        /// Where it says it begins.
        found: Lsn,
    },
    /// It comes from a later timeline than its name says.
    #[error("it is of timeline {found}, its name says {named}")]
    Timeline {
        /// The timeline in it.
        found: TimelineId,
        /// The timeline in its name.
        named: TimelineId,
    },
    /// It belongs to another cluster.
    #[error("it belongs to the cluster with system identifier {found}, not {expected}")]
    OtherCluster {
        /// The system identifier in it.
        found: SystemIdentifier,
        /// That of the cluster or archive at hand.
        expected: SystemIdentifier,
    },
}

/// A segment could not be checked, or is not what its name says.
#[derive(Debug)]
pub(super) enum CheckError {
    Read(io::Error),
    Segment(SegmentError),
}

/// The header of `file`, if it is the segment that `name` says; `None` where the name is no
/// segment's and the content is not looked at.
pub(super) fn check(
    file: &File,
    name: WalFileName,
    cluster: Option<Cluster>,
) -> Result<Option<SegmentHeader>, CheckError> {
    let Some(segment) = name.segment() else {
        return Ok(None);
    };
    let bytes = file.metadata().map_err(CheckError::Read)?.len();
    let mut header = [0; HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(CheckError::Segment(SegmentError::TooShort { bytes }));
        }
        Err(error) => return Err(CheckError::Read(error)),
    }
    let header = SegmentHeader::parse(&header).map_err(CheckError::Segment)?;
    header
        .check(segment, bytes, cluster)
        .map_err(CheckError::Segment)?;
    Ok(Some(header))
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    timeline: TimelineId,
    start_lsn: Lsn,
    pub(super) system_identifier: SystemIdentifier,
    segment_bytes: u32,
}

impl SegmentHeader {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<SegmentHeader, SegmentError> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let magic = u16_at(0);
        if !MAGICS.contains(&magic) || u16_at(2) & LONG_HEADER == 0 {
            return Err(SegmentError::NotWal { magic });
        }
        let segment_bytes = u32_at(32);
        if !segment_bytes.is_power_of_two() || !(1 << 20..=1 << 30).contains(&segment_bytes) {
            return Err(SegmentError::SegmentSize { segment_bytes });
        }
        Ok(SegmentHeader {
            timeline: TimelineId(u32_at(4)),
            start_lsn: Lsn(u64_at(8)),
            system_identifier: SystemIdentifier(u64_at(24)),
            segment_bytes,
        })
    }

    /// Whether a file of `bytes` bytes with this header is the segment `name` of `cluster`.
    fn check(
        &self,
        name: SegmentName,
        bytes: u64,
        cluster: Option<Cluster>,
    ) -> Result<(), SegmentError> {
        if let Some(cluster) = cluster {
            self.check_cluster(cluster.system_identifier)?;
        }
        let segment_bytes = cluster.map_or(self.segment_bytes, |cluster| cluster.wal_segment_bytes);
        if bytes != u64::from(segment_bytes) || segment_bytes != self.segment_bytes {
            return Err(SegmentError::Length {
                bytes,
                segment_bytes,
            });
        }
        if name.start_lsn(segment_bytes) != Some(self.start_lsn) {
            return Err(SegmentError::Position {
                found: self.start_lsn,
            });
        }
        // A new timeline's first segment begins with a copy of the old timeline's pages.
        if self.timeline > name.timeline() {
            return Err(SegmentError::Timeline {
                found: self.timeline,
                named: name.timeline(),
            });
        }
        Ok(())
    }

    fn check_cluster(&self, expected: SystemIdentifier) -> Result<(), SegmentError> {
        if self.system_identifier == expected {
            Ok(())
        } else {
            Err(SegmentError::OtherCluster {
                found: self.system_identifier,
                expected,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u32 = 1 << 20;

    /// The third segment of timeline 2 of cluster 7, as PostgreSQL 18 begins it.
    fn header() -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..2].copy_from_slice(&0xD118_u16.to_le_bytes());
        bytes[2..4].copy_from_slice(&LONG_HEADER.to_le_bytes());
        bytes[4..8].copy_from_slice(&2_u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&(3 * u64::from(MIB)).to_le_bytes());
        bytes[24..32].copy_from_slice(&7_u64.to_le_bytes());
        bytes[32..36].copy_from_slice(&MIB.to_le_bytes());
        bytes
    }

    fn check(name: &str, bytes: u32, cluster: Option<u64>) -> Result<(), SegmentError> {
        let name: WalFileName = name.parse().expect("a name");
        let cluster = cluster.map(|number| Cluster {
            system_identifier: SystemIdentifier(number),
            wal_segment_bytes: MIB,
        });
        SegmentHeader::parse(&header()).expect("well-formed").check(
            name.segment().expect("a segment"),
            bytes.into(),
            cluster,
        )
    }

    #[test]
    fn a_segment_has_to_be_what_its_name_says() {
        let own = "000000020000000000000003";
        assert_eq!(check(own, MIB, Some(7)), Ok(()));
        assert_eq!(check(own, MIB, None), Ok(()));
        // The first segment of timeline 3 may begin with pages of timeline 2.
        assert_eq!(check("000000030000000000000003", MIB, None), Ok(()));
        assert!(matches!(
            check("000000010000000000000003", MIB, None),
            Err(SegmentError::Timeline { .. })
        ));
        assert!(matches!(
            check("000000020000000000000004", MIB, None),
            Err(SegmentError::Position { .. })
        ));
        assert!(matches!(
            check(own, MIB - 1, None),
            Err(SegmentError::Length { .. })
        ));
        assert!(matches!(
            check(own, MIB, Some(8)),
            Err(SegmentError::OtherCluster { .. })
        ));
    }

    #[test]
    fn zeros_and_other_files_are_no_segment() {
        assert!(matches!(
            SegmentHeader::parse(&[0; HEADER_BYTES]),
            Err(SegmentError::NotWal { magic: 0 })
        ));
        let mut short_header = header();
        short_header[2] = 0;
        assert!(SegmentHeader::parse(&short_header).is_err());
    }

    proptest! {
        #[test]
        fn any_header_is_survived(bytes: [u8; HEADER_BYTES], magic in 0..4_usize) {
            let mut bytes = bytes;
            bytes[0..2].copy_from_slice(&MAGICS[magic].to_le_bytes());
            bytes[2] |= 2;
            if let Ok(header) = SegmentHeader::parse(&bytes) {
                let name: WalFileName = "FFFFFFFF00000000000000FF".parse().expect("a name");
                header.check(name.segment().expect("a segment"), 1 << 24, None).ok();
            }
        }
    }
}
