//! The backup manifest, read and verified as it streams.
//!
//! Source: PostgreSQL manual, "Backup Manifest Format"; src/backend/backup/backup_manifest.c.
//! Its memory is one JSON token and one entry, whatever the manifest's length.

use manada_model::{Lsn, SystemIdentifier, TimelineId};
use sha2::{Digest, Sha256};

use crate::command::base_backup::ChecksumAlgorithm;
use crate::entry_path::{EntryPath, UnsafePath};
pub use crate::json::JsonError;
use crate::json::{Lexer, Token};

/// What the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestItem {
    /// Which cluster the backup is of; said from version 2 (PostgreSQL 17) on.
    SystemIdentifier(SystemIdentifier),
    /// A file of the backup.
    File(ManifestFile),
    /// WAL that the backup needs.
    WalRange(WalRange),
}

/// A file of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Relative to the data directory, tablespaces below `pg_tblspc`.
    pub path: EntryPath,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, where the server made one.
    pub checksum: Option<Checksum>,
}

/// A file's checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it is made.
    pub algorithm: ChecksumAlgorithm,
    /// The checksum; as long as the algorithm's are.
    pub value: Vec<u8>,
}

/// WAL that the backup needs: all of it from start to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// On this timeline.
    pub timeline: TimelineId,
    /// From here.
    pub start_lsn: Lsn,
    /// Up to here.
    pub end_lsn: Lsn,
}

/// The manifest is not one that PostgreSQL writes, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON.
    #[error("the backup manifest is not JSON: {0}")]
    Json(#[from] JsonError),
    /// It is JSON of another shape.
    #[error("the backup manifest has another structure than PostgreSQL's, near {near:?}")]
    Structure {
        /// The last field before.
        near: String,
    },
    /// A field that PostgreSQL 15 to 18 don't write.
    #[error("the backup manifest has the unknown field {field:?}")]
    UnknownField {
        /// Its name.
        field: String,
    },
    /// A field is said twice.
    #[error("the backup manifest says {field:?} twice for one thing")]
    RepeatedField {
        /// Its name.
        field: &'static str,
    },
    /// A field is not there.
    #[error("the backup manifest lacks the field {field:?}")]
    MissingField {
        /// Its name.
        field: &'static str,
    },
    /// A field's value is not one it can have.
    #[error("the backup manifest has a malformed value for {field:?}")]
    MalformedValue {
        /// The field's name.
        field: &'static str,
    },
    /// A version that is not known.
    #[error("the backup manifest is of version {version:?}; 1 and 2 are known")]
    UnknownVersion {
        /// The version.
        version: String,
    },
    /// A path that may not be used.
    #[error(transparent)]
    UnsafePath(#[from] UnsafePath),
    /// It ended early.
    #[error("the backup manifest ends in the middle")]
    Truncated,
    /// Its own checksum does not match.
    #[error("the backup manifest is damaged: its own checksum does not match")]
    OwnChecksum,
}

/// Reads a manifest as its bytes arrive, in chunks of any size.
#[derive(Debug, Default)]
pub struct ManifestReader {
    lexer: Lexer,
    lines: LineHasher,
    place: Place,
    expect: Expect,
    key: String,
    version_seen: bool,
    files_seen: bool,
    ranges_seen: bool,
    file: FileFields,
    range: RangeFields,
    own_checksum: Option<Vec<u8>>,
}

/// Where in the document the reader is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Root,
    Files,
    File,
    Ranges,
    Range,
    End,
}

/// What JSON's grammar allows there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Expect {
    FirstOrEnd,
    #[default]
    Next,
    Colon,
    Value,
    CommaOrEnd,
}

#[derive(Debug, Default)]
struct FileFields {
    path: Option<EntryPath>,
    bytes: Option<u64>,
    modified: Option<()>,
    algorithm: Option<ChecksumAlgorithm>,
    checksum: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct RangeFields {
    timeline: Option<TimelineId>,
    start_lsn: Option<Lsn>,
    end_lsn: Option<Lsn>,
}

impl ManifestReader {
    /// A reader at the beginning of a manifest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a chunk and appends what it says to `items`.
    ///
    /// # Errors
    /// It is not a manifest that PostgreSQL writes. The reader is of no more use.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        items: &mut Vec<ManifestItem>,
    ) -> Result<(), ManifestError> {
        self.lines.feed(bytes);
        for byte in bytes {
            for token in self.lexer.push(*byte)?.into_iter().flatten() {
                items.extend(self.take(token)?);
            }
        }
        Ok(())
    }

    /// Says that no chunk follows, and compares the manifest's own checksum.
    ///
    /// # Errors
    /// The manifest is not whole, or its checksum is wrong.
    pub fn finish(mut self) -> Result<(), ManifestError> {
        // A whole document ends with a brace: no token can be pending.
        if self.lexer.finish()?.is_some() || self.place != Place::End {
            return Err(ManifestError::Truncated);
        }
        if self.lines.before_last_line() == self.own_checksum {
            Ok(())
        } else {
            Err(ManifestError::OwnChecksum)
        }
    }

    fn take(&mut self, token: Token) -> Result<Option<ManifestItem>, ManifestError> {
        match (self.place, self.expect, token) {
            (Place::Start, _, Token::ObjectStart) => self.enter(Place::Root),
            (Place::Root | Place::File | Place::Range, expect, token) => {
                return self.take_in_object(expect, token);
            }
            (Place::Files, Expect::FirstOrEnd | Expect::Next, Token::ObjectStart) => {
                self.file = FileFields::default();
                self.enter(Place::File);
            }
            (Place::Ranges, Expect::FirstOrEnd | Expect::Next, Token::ObjectStart) => {
                self.range = RangeFields::default();
                self.enter(Place::Range);
            }
            (Place::Files | Place::Ranges, Expect::CommaOrEnd, Token::Comma) => {
                self.expect = Expect::Next;
            }
            (
                Place::Files | Place::Ranges,
                Expect::FirstOrEnd | Expect::CommaOrEnd,
                Token::ArrayEnd,
            ) => self.leave(Place::Root),
            _ => return Err(self.structure()),
        }
        Ok(None)
    }

    fn take_in_object(
        &mut self,
        expect: Expect,
        token: Token,
    ) -> Result<Option<ManifestItem>, ManifestError> {
        match (expect, token) {
            (Expect::FirstOrEnd | Expect::Next, Token::String(key)) => {
                self.key = key;
                self.expect = Expect::Colon;
                Ok(None)
            }
            (Expect::Colon, Token::Colon) => {
                self.expect = Expect::Value;
                Ok(None)
            }
            (Expect::Value, token) => self.take_value(token),
            (Expect::CommaOrEnd, Token::Comma) => {
                self.expect = Expect::Next;
                Ok(None)
            }
            (Expect::FirstOrEnd | Expect::CommaOrEnd, Token::ObjectEnd) => self.end_object(),
            _ => Err(self.structure()),
        }
    }

    fn take_value(&mut self, token: Token) -> Result<Option<ManifestItem>, ManifestError> {
        self.expect = Expect::CommaOrEnd;
        let key = std::mem::take(&mut self.key);
        let item = match self.place {
            Place::Root => self.take_root_value(&key, token)?,
            Place::File => {
                self.file.take(&key, token)?;
                None
            }
            Place::Range => {
                self.range.take(&key, token)?;
                None
            }
            Place::Start | Place::Files | Place::Ranges | Place::End => {
                return Err(self.structure());
            }
        };
        self.key = key;
        Ok(item)
    }

    fn take_root_value(
        &mut self,
        key: &str,
        token: Token,
    ) -> Result<Option<ManifestItem>, ManifestError> {
        match (key, token) {
            ("PostgreSQL-Backup-Manifest-Version", Token::Number(version)) => {
                if !matches!(version.as_str(), "1" | "2") {
                    return Err(ManifestError::UnknownVersion { version });
                }
                self.version_seen = true;
            }
            ("System-Identifier", Token::Number(number)) => {
                let identifier = number.parse().map_err(|_| ManifestError::MalformedValue {
                    field: "System-Identifier",
                })?;
                return Ok(Some(ManifestItem::SystemIdentifier(identifier)));
            }
            ("Files", Token::ArrayStart) => {
                once(&mut self.files_seen, "Files")?;
                self.enter(Place::Files);
            }
            ("WAL-Ranges", Token::ArrayStart) => {
                once(&mut self.ranges_seen, "WAL-Ranges")?;
                self.enter(Place::Ranges);
            }
            ("Manifest-Checksum", Token::String(hex)) => {
                let checksum = decode_hex(&hex).ok_or(ManifestError::MalformedValue {
                    field: "Manifest-Checksum",
                })?;
                set(&mut self.own_checksum, "Manifest-Checksum", checksum)?;
            }
            _ => return Err(unknown(key)),
        }
        Ok(None)
    }

    fn end_object(&mut self) -> Result<Option<ManifestItem>, ManifestError> {
        match self.place {
            Place::File => {
                self.leave(Place::Files);
                let file = std::mem::take(&mut self.file).finish()?;
                Ok(Some(ManifestItem::File(file)))
            }
            Place::Range => {
                self.leave(Place::Ranges);
                let range = std::mem::take(&mut self.range).finish()?;
                Ok(Some(ManifestItem::WalRange(range)))
            }
            Place::Root => {
                self.place = Place::End;
                for (seen, field) in [
                    (self.version_seen, "PostgreSQL-Backup-Manifest-Version"),
                    (self.files_seen, "Files"),
                    (self.ranges_seen, "WAL-Ranges"),
                    (self.own_checksum.is_some(), "Manifest-Checksum"),
                ] {
                    if !seen {
                        return Err(ManifestError::MissingField { field });
                    }
                }
                Ok(None)
            }
            Place::Start | Place::Files | Place::Ranges | Place::End => Err(self.structure()),
        }
    }

    fn enter(&mut self, place: Place) {
        self.place = place;
        self.expect = Expect::FirstOrEnd;
    }

    fn leave(&mut self, parent: Place) {
        self.place = parent;
        self.expect = Expect::CommaOrEnd;
    }

    fn structure(&self) -> ManifestError {
        ManifestError::Structure {
            near: shortened(&self.key),
        }
    }
}

impl FileFields {
    fn take(&mut self, key: &str, token: Token) -> Result<(), ManifestError> {
        match (key, token) {
            ("Path", Token::String(path)) => {
                set(&mut self.path, "Path", EntryPath::parse(path.as_bytes())?)
            }
            ("Encoded-Path", Token::String(hex)) => {
                let field = "Encoded-Path";
                let path = decode_hex(&hex).ok_or(ManifestError::MalformedValue { field })?;
                set(&mut self.path, field, EntryPath::parse(&path)?)
            }
            ("Size", Token::Number(number)) => {
                let field = "Size";
                let bytes = number.parse();
                let bytes = bytes.map_err(|_| ManifestError::MalformedValue { field })?;
                set(&mut self.bytes, field, bytes)
            }
            ("Last-Modified", Token::String(_)) => set(&mut self.modified, "Last-Modified", ()),
            ("Checksum-Algorithm", Token::String(name)) => {
                let field = "Checksum-Algorithm";
                let algorithm = ChecksumAlgorithm::ALL
                    .into_iter()
                    .find(|algorithm| algorithm.name() == name)
                    .ok_or(ManifestError::MalformedValue { field })?;
                set(&mut self.algorithm, field, algorithm)
            }
            ("Checksum", Token::String(hex)) => {
                let field = "Checksum";
                let checksum = decode_hex(&hex).ok_or(ManifestError::MalformedValue { field })?;
                set(&mut self.checksum, field, checksum)
            }
            _ => Err(unknown(key)),
        }
    }

    fn finish(self) -> Result<ManifestFile, ManifestError> {
        let checksum = match (self.algorithm, self.checksum) {
            (None, None) => None,
            (Some(algorithm), Some(value)) if value.len() == algorithm.checksum_bytes() => {
                Some(Checksum { algorithm, value })
            }
            (Some(_), Some(_)) => {
                return Err(ManifestError::MalformedValue { field: "Checksum" });
            }
            (Some(_), None) => return Err(ManifestError::MissingField { field: "Checksum" }),
            (None, Some(_)) => {
                return Err(ManifestError::MissingField {
                    field: "Checksum-Algorithm",
                });
            }
        };
        Ok(ManifestFile {
            path: required(self.path, "Path")?,
            bytes: required(self.bytes, "Size")?,
            checksum,
        })
    }
}

impl RangeFields {
    fn take(&mut self, key: &str, token: Token) -> Result<(), ManifestError> {
        match (key, token) {
            ("Timeline", Token::Number(number)) => {
                let field = "Timeline";
                let timeline = number.parse().map(TimelineId);
                let timeline = timeline.map_err(|_| ManifestError::MalformedValue { field })?;
                set(&mut self.timeline, field, timeline)
            }
            ("Start-LSN", Token::String(text)) => {
                set(&mut self.start_lsn, "Start-LSN", lsn(&text, "Start-LSN")?)
            }
            ("End-LSN", Token::String(text)) => {
                set(&mut self.end_lsn, "End-LSN", lsn(&text, "End-LSN")?)
            }
            _ => Err(unknown(key)),
        }
    }

    fn finish(self) -> Result<WalRange, ManifestError> {
        Ok(WalRange {
            timeline: required(self.timeline, "Timeline")?,
            start_lsn: required(self.start_lsn, "Start-LSN")?,
            end_lsn: required(self.end_lsn, "End-LSN")?,
        })
    }
}

fn lsn(text: &str, field: &'static str) -> Result<Lsn, ManifestError> {
    text.parse()
        .map_err(|_| ManifestError::MalformedValue { field })
}

fn once(seen: &mut bool, field: &'static str) -> Result<(), ManifestError> {
    if std::mem::replace(seen, true) {
        return Err(ManifestError::RepeatedField { field });
    }
    Ok(())
}

fn set<T>(slot: &mut Option<T>, field: &'static str, value: T) -> Result<(), ManifestError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ManifestError::RepeatedField { field }),
    }
}

fn required<T>(slot: Option<T>, field: &'static str) -> Result<T, ManifestError> {
    slot.ok_or(ManifestError::MissingField { field })
}

fn unknown(key: &str) -> ManifestError {
    ManifestError::UnknownField {
        field: shortened(key),
    }
}

/// An error repeats at most this many characters of what the server sent.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// Hashes all lines but the last: that is what a manifest's own checksum covers.
#[derive(Debug, Default)]
struct LineHasher {
    all: Sha256,
    /// The hash of everything up to the newline before the last one that was met.
    before_last: Option<Sha256>,
    up_to_last: Option<Sha256>,
    ends_with_newline: bool,
}

impl LineHasher {
    fn feed(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.all.update(line);
            self.ends_with_newline = line.ends_with(b"\n");
            if self.ends_with_newline {
                self.before_last = self.up_to_last.replace(self.all.clone());
            }
        }
    }

    /// `None` unless there are at least two lines and the last one is whole.
    fn before_last_line(self) -> Option<Vec<u8>> {
        let hasher = self.before_last.filter(|_| self.ends_with_newline)?;
        Some(hasher.finalize().to_vec())
    }
}
