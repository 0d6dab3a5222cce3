//! `BASE_BACKUP`: a copy of the data directory, and where its WAL begins and ends.
//!
//! The options are the same in 15 to 18, of those that are used here.

use std::fmt;

use manada_model::{Lsn, TimelineId, WalPosition};

use crate::quote::Literal;
use crate::rows::{DataRow, RowError};

const COMMAND: &str = "BASE_BACKUP";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseBackup {
    /// What `backup_label` will say it is for.
    pub label: String,
    /// How the checkpoint that begins the backup is made.
    pub checkpoint: Checkpoint,
    /// How each file is checked.
    pub manifest_checksums: ChecksumAlgorithm,
    /// The most that the server sends in a second, in KiB.
    pub rate_max_kib: Option<TransferRate>,
}

/// How the checkpoint that begins a backup is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// At once, with all the IO it takes.
    Fast,
    /// Spread over time, as the server's own checkpoints are: minutes.
    Spread,
}

/// The least and the most that `MAX_RATE` takes, in KiB a second (basebackup.h).
const RATE_KIB: std::ops::RangeInclusive<u32> = 32..=1_048_576;

/// A rate that `MAX_RATE` takes: 32 KiB to 1 GiB a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferRate {
    kib_per_second: u32,
}

/// The rate is not one that the server takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kib_per_second} KiB a second is not a transfer rate from 32 KiB to 1 GiB a second")]
pub struct RateOutOfRange {
    /// What was asked for.
    pub kib_per_second: u32,
}

impl TransferRate {
    /// A rate in KiB a second.
    ///
    /// # Errors
    /// It is outside what the server takes.
    pub fn from_kib_per_second(kib_per_second: u32) -> Result<Self, RateOutOfRange> {
        if RATE_KIB.contains(&kib_per_second) {
            Ok(TransferRate { kib_per_second })
        } else {
            Err(RateOutOfRange { kib_per_second })
        }
    }
}

/// How a manifest's checksums are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32C: quick, catches accidents.
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [ChecksumAlgorithm; 5] = [
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Sha224,
        ChecksumAlgorithm::Sha256,
        ChecksumAlgorithm::Sha384,
        ChecksumAlgorithm::Sha512,
    ];

    /// As PostgreSQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumAlgorithm::Crc32c => "CRC32C",
            ChecksumAlgorithm::Sha224 => "SHA224",
            ChecksumAlgorithm::Sha256 => "SHA256",
            ChecksumAlgorithm::Sha384 => "SHA384",
            ChecksumAlgorithm::Sha512 => "SHA512",
        }
    }

    /// How long a checksum is.
    pub fn checksum_bytes(self) -> usize {
        match self {
            ChecksumAlgorithm::Crc32c => 4,
            ChecksumAlgorithm::Sha224 => 28,
            ChecksumAlgorithm::Sha256 => 32,
            ChecksumAlgorithm::Sha384 => 48,
            ChecksumAlgorithm::Sha512 => 64,
        }
    }
}

/// The command's text. Progress, a manifest and no waiting for the archive are always asked for:
/// whoever clones receives the WAL beside it.
impl fmt::Display for BaseBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoint = match self.checkpoint {
            Checkpoint::Fast => "fast",
            Checkpoint::Spread => "spread",
        };
        write!(
            f,
            "{COMMAND} (LABEL {}, PROGRESS, CHECKPOINT {}, WAIT 0, MANIFEST 'yes', MANIFEST_CHECKSUMS {}",
            Literal(&self.label),
            Literal(checkpoint),
            Literal(self.manifest_checksums.name()),
        )?;
        if let Some(rate) = self.rate_max_kib {
            write!(f, ", MAX_RATE {}", rate.kib_per_second)?;
        }
        f.write_str(")")
    }
}

/// The row that begins or ends a backup: where its WAL begins or ends.
///
/// # Errors
/// The row is not such an answer.
pub fn position(row: &DataRow) -> Result<WalPosition, RowError> {
    Ok(WalPosition {
        lsn: row.parse::<Lsn>(COMMAND, 0, "recptr")?,
        timeline: TimelineId(row.parse(COMMAND, 1, "tli")?),
    })
}

/// A tablespace of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    /// Which; the data directory itself has no object id.
    pub oid: Option<u32>,
    /// Where it lies on the server; relative to the data directory where it is in place.
    pub location: Option<String>,
    /// The server's estimate of its size. Not to be relied on: a figure for progress.
    pub estimated_bytes: u64,
}

impl TryFrom<&DataRow> for Tablespace {
    type Error = RowError;

    fn try_from(row: &DataRow) -> Result<Self, RowError> {
        let kib: Option<u64> = row.parse_nullable(COMMAND, 2, "size")?;
        Ok(Tablespace {
            oid: row.parse_nullable(COMMAND, 0, "spcoid")?,
            location: row.parse_nullable(COMMAND, 1, "spclocation")?,
            estimated_bytes: kib.unwrap_or(0).saturating_mul(1024),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_label_stays_a_label() {
        let command = BaseBackup {
            label: "x', WAL, LABEL 'y".into(),
            checkpoint: Checkpoint::Fast,
            manifest_checksums: ChecksumAlgorithm::Crc32c,
            rate_max_kib: Some(TransferRate::from_kib_per_second(32).expect("in range")),
        };
        assert_eq!(
            command.to_string(),
            "BASE_BACKUP (LABEL 'x'', WAL, LABEL ''y', PROGRESS, CHECKPOINT 'fast', WAIT 0, \
             MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', MAX_RATE 32)"
        );
    }

    #[test]
    fn rates_the_server_refuses_are_refused_here() {
        for kib in [0, 31, 1_048_577] {
            assert!(TransferRate::from_kib_per_second(kib).is_err(), "{kib}");
        }
    }
}
