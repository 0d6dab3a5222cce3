//! `global/pg_control`: what a data directory says of itself, with no server running.
//!
//! Source: `src/include/catalog/pg_control.h` of 15 to 18. 15 and 16 share format 1300; 17 (1700)
//! adds the WAL level of the last checkpoint, in what was padding; 18 (1800) adds the default
//! signedness of `char` before the nonce. The files are in the machine's own byte order; of the
//! machines PostgreSQL 15 and later run on, only little-endian ones with 8-byte alignment are read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use manada_model::{Lsn, MajorVersion, SystemIdentifier, TimelineId, WalPosition};

/// How often a file that fails its checksum is read again: a server may be writing it.
const READS_MAX: u32 = 20;
const BETWEEN_READS: Duration = Duration::from_millis(3);

/// A checkpoint's record: the record's header, the header of its data, a `CheckPoint`, and what
/// aligns the next record to 8 bytes; and what a WAL page begins with.
///
/// Source: `xlogrecord.h`, `pg_control.h`, `xlog_internal.h`.
const CHECKPOINT_RECORD_BYTES: u64 = (24 + 2 + 88_u64).next_multiple_of(8);
const PAGE_HEADER_BYTES: u64 = 24;
const LONG_PAGE_HEADER_BYTES: u64 = 40;

/// The content of `pg_control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    /// Which cluster the directory belongs to.
    pub system_identifier: SystemIdentifier,
    /// The major version whose format this is.
    pub major: MajorVersion,
    /// The version of the system catalogs.
    pub catalog_version: u32,
    /// What the server was doing when it last wrote the file.
    pub state: DatabaseState,
    /// When the file was last written.
    pub updated_at: SystemTime,
    /// Where the last checkpoint's record is.
    pub checkpoint_lsn: Lsn,
    /// The last checkpoint.
    pub checkpoint: Checkpoint,
    /// How far recovery must go before the data is consistent; `None` where no recovery is under
    /// way.
    pub min_recovery: Option<WalPosition>,
    /// Where the base backup began that is being recovered from.
    pub backup_start_lsn: Option<Lsn>,
    /// Where it ended, if it was taken from a standby.
    pub backup_end_lsn: Option<Lsn>,
    /// Whether the end of the backup is still to be met in the WAL.
    pub backup_end_required: bool,
    /// The settings a standby has to follow.
    pub settings: RecoverySettings,
    /// Bytes in a block of data.
    pub block_bytes: u32,
    /// Blocks in a file of a large relation.
    pub relation_segment_blocks: u32,
    /// Bytes in a WAL page.
    pub wal_page_bytes: u32,
    /// Bytes in a WAL segment.
    pub wal_segment_bytes: u32,
    /// Whether data pages carry checksums.
    pub data_checksums: bool,
}

/// The part of a checkpoint's record that `pg_control` keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where replay would start.
    pub redo_lsn: Lsn,
    /// The timeline.
    pub timeline: TimelineId,
    /// The timeline before it, where the record begins a new one; else the same.
    pub previous_timeline: TimelineId,
    /// Whether full pages were being written.
    pub full_page_writes: bool,
    /// The WAL level in force, kept from 17 on.
    pub wal_level: Option<WalLevel>,
    /// The next transaction's id, with its epoch.
    pub next_xid: u64,
    /// The oldest transaction id that is not frozen.
    pub oldest_xid: u32,
    /// The next object id.
    pub next_oid: u32,
    /// The next multi-transaction id.
    pub next_multixact: u32,
    /// When it was taken.
    pub taken_at: SystemTime,
}

/// What a server was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseState {
    /// Starting for the first time.
    Starting,
    /// Shut down in good order, as a primary.
    ShutDown,
    /// Shut down in good order, as a standby.
    ShutDownInRecovery,
    /// Shutting down.
    ShuttingDown,
    /// Recovering after a crash.
    InCrashRecovery,
    /// Recovering from an archive, or following a primary.
    InArchiveRecovery,
    /// Running as a primary, or crashed as one.
    InProduction,
}

/// The `wal_level` setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalLevel {
    /// No replication.
    Minimal,
    /// Enough for standbys.
    Replica,
    /// Logical decoding too.
    Logical,
}

/// The settings that `pg_control` keeps because recovery depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoverySettings {
    /// `wal_level`.
    pub wal_level: WalLevel,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`.
    pub max_wal_senders: i32,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: i32,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

/// The bytes are no `pg_control` of a supported version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseControlFileError {
    /// Too short to be one.
    #[error("it is only {bytes} bytes long")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// Written on a machine with the other byte order.
    #[error("it was written on a machine with another byte order")]
    ByteOrder,
    /// A version that Manada does not work with.
    #[error("its format {format} with catalog {catalog} is not one of PostgreSQL 15, 16, 17 or 18")]
    Version {
        /// The number of the file's format.
        format: u32,
        /// The number of the catalogs' format.
        catalog: u32,
    },
    /// Damaged.
    #[error("its checksum is {found:08x} instead of {stored:08x}")]
    Checksum {
        /// What is stored in it.
        stored: u32,
        /// What its content has.
        found: u32,
    },
    /// A field has a value that PostgreSQL never writes.
    #[error("its {field} is {value}, which PostgreSQL never writes")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
}

/// A data directory's control file can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlFileError {
    /// It can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was read, and is not what it should be.
    #[error("{} can't be used", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParseControlFileError,
    },
}

impl ControlFile {
    /// Reads that of a data directory, whether its server runs or not.
    pub fn read(data_directory: &Path) -> Result<ControlFile, ControlFileError> {
        let path = data_directory.join("global/pg_control");
        let mut reads = 1;
        loop {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(source) => return Err(ControlFileError::Read { path, source }),
            };
            match ControlFile::parse(&bytes) {
                Ok(control_file) => return Ok(control_file),
                Err(ParseControlFileError::Checksum { .. }) if reads < READS_MAX => {
                    reads += 1;
                    thread::sleep(BETWEEN_READS);
                }
                Err(source) => return Err(ControlFileError::Parse { path, source }),
            }
        }
    }

    /// Where the WAL of a server that was shut down as a primary ends: behind the record of its
    /// shutdown checkpoint, which is its last.
    pub fn shutdown_checkpoint_end(&self) -> Lsn {
        let page = u64::from(self.wal_page_bytes);
        let begin = self.checkpoint_lsn.0;
        let end = begin + CHECKPOINT_RECORD_BYTES;
        let next_page = (begin / page + 1) * page;
        if end <= next_page {
            return Lsn(end);
        }
        let header = if next_page.is_multiple_of(u64::from(self.wal_segment_bytes)) {
            LONG_PAGE_HEADER_BYTES
        } else {
            PAGE_HEADER_BYTES
        };
        Lsn(end + header)
    }

    /// Reads the file's content.
    pub fn parse(bytes: &[u8]) -> Result<ControlFile, ParseControlFileError> {
        let fields = Fields::of(bytes)?;
        let (format, catalog) = (fields.u32(8), fields.u32(12));
        let major = major_version(format, catalog)?;
        let crc_offset = match major {
            MajorVersion::V15 | MajorVersion::V16 | MajorVersion::V17 => 288,
            MajorVersion::V18 => 292,
        };
        let (stored, found) = (fields.u32(crc_offset), crc32c::crc32c(&bytes[..crc_offset]));
        if stored != found {
            return Err(ParseControlFileError::Checksum { stored, found });
        }
        let has_wal_level = match major {
            MajorVersion::V15 | MajorVersion::V16 => false,
            MajorVersion::V17 | MajorVersion::V18 => true,
        };
        let checkpoint = Checkpoint {
            redo_lsn: fields.lsn(40),
            timeline: TimelineId(fields.u32(48)),
            previous_timeline: TimelineId(fields.u32(52)),
            full_page_writes: fields.flag(56),
            wal_level: has_wal_level
                .then(|| wal_level(fields.i32(60)))
                .transpose()?,
            next_xid: fields.u64(64),
            next_oid: fields.u32(72),
            next_multixact: fields.u32(76),
            oldest_xid: fields.u32(84),
            taken_at: fields.time(104),
        };
        let min_recovery = WalPosition {
            timeline: TimelineId(fields.u32(144)),
            lsn: fields.lsn(136),
        };
        Ok(ControlFile {
            system_identifier: SystemIdentifier(fields.u64(0)),
            major,
            catalog_version: catalog,
            state: state(fields.i32(16))?,
            updated_at: fields.time(24),
            checkpoint_lsn: fields.lsn(32),
            checkpoint,
            min_recovery: min_recovery.lsn.is_valid().then_some(min_recovery),
            backup_start_lsn: Some(fields.lsn(152)).filter(|lsn| lsn.is_valid()),
            backup_end_lsn: Some(fields.lsn(160)).filter(|lsn| lsn.is_valid()),
            backup_end_required: fields.flag(168),
            settings: RecoverySettings {
                wal_level: wal_level(fields.i32(172))?,
                wal_log_hints: fields.flag(176),
                max_connections: fields.i32(180),
                max_worker_processes: fields.i32(184),
                max_wal_senders: fields.i32(188),
                max_prepared_transactions: fields.i32(192),
                max_locks_per_transaction: fields.i32(196),
                track_commit_timestamp: fields.flag(200),
            },
            block_bytes: fields.u32(216),
            relation_segment_blocks: fields.u32(220),
            wal_page_bytes: fields.u32(224),
            wal_segment_bytes: wal_segment_bytes(fields.u32(228))?,
            data_checksums: fields.u32(252) != 0,
        })
    }
}

fn major_version(format: u32, catalog: u32) -> Result<MajorVersion, ParseControlFileError> {
    // Foreign bytes: any other pair of numbers is a version that we do not know.
    match (format, catalog) {
        (1300, 202_209_061) => Ok(MajorVersion::V15),
        (1300, 202_307_071) => Ok(MajorVersion::V16),
        (1700, 202_406_281) => Ok(MajorVersion::V17),
        (1800, 202_506_291) => Ok(MajorVersion::V18),
        (format, _) if format & 0xFFFF == 0 && format != 0 => Err(ParseControlFileError::ByteOrder),
        _ => Err(ParseControlFileError::Version { format, catalog }),
    }
}

fn state(value: i32) -> Result<DatabaseState, ParseControlFileError> {
    match value {
        0 => Ok(DatabaseState::Starting),
        1 => Ok(DatabaseState::ShutDown),
        2 => Ok(DatabaseState::ShutDownInRecovery),
        3 => Ok(DatabaseState::ShuttingDown),
        4 => Ok(DatabaseState::InCrashRecovery),
        5 => Ok(DatabaseState::InArchiveRecovery),
        6 => Ok(DatabaseState::InProduction),
        other => Err(ParseControlFileError::Value {
            field: "state",
            value: other.into(),
        }),
    }
}

fn wal_level(value: i32) -> Result<WalLevel, ParseControlFileError> {
    match value {
        0 => Ok(WalLevel::Minimal),
        1 => Ok(WalLevel::Replica),
        2 => Ok(WalLevel::Logical),
        other => Err(ParseControlFileError::Value {
            field: "wal_level",
            value: other.into(),
        }),
    }
}

/// A power of two from 1 MiB to 1 GiB, as `initdb` demands.
fn wal_segment_bytes(value: u32) -> Result<u32, ParseControlFileError> {
    if value.is_power_of_two() && (1 << 20..=1 << 30).contains(&value) {
        Ok(value)
    } else {
        Err(ParseControlFileError::Value {
            field: "xlog_seg_size",
            value: value.into(),
        })
    }
}

/// The structure of the longest format, by offset.
struct Fields<'a>(&'a [u8; FIELDS_BYTES]);

/// The length of 18's structure, the longest.
const FIELDS_BYTES: usize = 296;

impl Fields<'_> {
    fn of(bytes: &[u8]) -> Result<Fields<'_>, ParseControlFileError> {
        bytes
            .first_chunk()
            .map(Fields)
            .ok_or(ParseControlFileError::TooShort { bytes: bytes.len() })
    }

    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[offset..offset + N]);
        bytes
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    fn i32(&self, offset: usize) -> i32 {
        i32::from_le_bytes(self.bytes(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes(offset))
    }

    fn lsn(&self, offset: usize) -> Lsn {
        Lsn(self.u64(offset))
    }

    fn flag(&self, offset: usize) -> bool {
        self.0[offset] != 0
    }

    fn time(&self, offset: usize) -> SystemTime {
        let seconds = u64::try_from(i64::from_le_bytes(self.bytes(offset))).unwrap_or_default();
        // A time before 1970 or past what the clock can say is as good as none.
        UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file as 18 writes it, with some fields set and a right checksum.
    fn written(format: u32, catalog: u32, crc_offset: usize) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        let mut put = |offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value);
        };
        put(0, &7_710_730_385_798_810_324_u64.to_le_bytes());
        put(8, &format.to_le_bytes());
        put(12, &catalog.to_le_bytes());
        put(16, &6_i32.to_le_bytes());
        put(32, &0x16_B374_D848_u64.to_le_bytes());
        put(48, &3_u32.to_le_bytes());
        put(172, &1_i32.to_le_bytes());
        put(228, &(1_u32 << 24).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..crc_offset]);
        bytes[crc_offset..crc_offset + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn eighteen() -> Vec<u8> {
        written(1800, 202_506_291, 292)
    }

    #[test]
    fn a_file_is_read_with_its_own_versions_layout() {
        let read = ControlFile::parse(&eighteen()).expect("well-formed");
        assert_eq!(read.major, MajorVersion::V18);
        assert_eq!(read.system_identifier.to_string(), "7710730385798810324");
        assert_eq!(read.state, DatabaseState::InProduction);
        assert_eq!(read.checkpoint_lsn.to_string(), "16/B374D848");
        assert_eq!(read.checkpoint.wal_level, Some(WalLevel::Minimal));
        assert_eq!(read.min_recovery, None);
        let fifteen = ControlFile::parse(&written(1300, 202_209_061, 288)).expect("well-formed");
        assert_eq!(fifteen.checkpoint.wal_level, None);
    }

    #[test]
    fn other_versions_and_machines_are_named() {
        assert!(matches!(
            ControlFile::parse(&written(1300, 202_107_181, 288)),
            Err(ParseControlFileError::Version { format: 1300, .. })
        ));
        assert_eq!(
            ControlFile::parse(&written(1800_u32.swap_bytes(), 0, 288)),
            Err(ParseControlFileError::ByteOrder)
        );
        assert_eq!(
            ControlFile::parse(&eighteen()[..200]),
            Err(ParseControlFileError::TooShort { bytes: 200 })
        );
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(bit in 0..292 * 8_usize) {
            let mut bytes = eighteen();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(ControlFile::parse(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(ControlFile::parse(&bytes).is_err());
            // With the right version and checksum in front of any other content.
            bytes.resize(400, 0);
            bytes[8..16].copy_from_slice(&eighteen()[8..16]);
            let crc = crc32c::crc32c(&bytes[..292]);
            bytes[292..296].copy_from_slice(&crc.to_le_bytes());
            ControlFile::parse(&bytes).ok();
        }
    }
}
