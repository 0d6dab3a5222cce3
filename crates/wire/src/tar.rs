//! The tar that PostgreSQL's backup writes, read as it streams.
//!
//! That is POSIX ustar with two peculiarities (src/port/tar.c): no name is split into prefix and
//! name, as a server refuses names longer than 99 bytes; and a size beyond 8 GiB is binary, as
//! GNU does it. Whatever else the format allows (hard links, devices, pax headers, sparse files)
//! no server writes, so it is refused.

use bytes::Bytes;

use crate::entry_path::{EntryPath, UnsafePath};

/// Headers are one block; contents are padded to whole blocks.
const BLOCK_BYTES: usize = 512;
/// Two blocks of zeros end an archive.
const END_BLOCKS: u8 = 2;

/// What the archive says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarEvent {
    /// A file, directory or link begins.
    Entry(TarEntry),
    /// Bytes of the file that has begun.
    Data(Bytes),
    /// The file is whole: as many bytes came as its entry announced.
    FileEnd,
}

/// A file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// Where it belongs.
    pub path: EntryPath,
    /// Its permissions, the lowest 12 bits.
    pub mode: u32,
    /// What it is.
    pub kind: TarKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file. Its contents follow.
    File {
        /// How many bytes the archive announces. Not to be relied on for allocating.
        bytes: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, as PostgreSQL makes them for tablespaces.
    Symlink {
        /// What it points to, as the server has it.
        target: Bytes,
    },
}

/// The archive is not one that a PostgreSQL server writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// A header's checksum is wrong: the bytes are damaged, or not a tar archive.
    #[error("a header in the backup's archive is damaged: its checksum is wrong")]
    HeaderChecksum,
    /// Not ustar.
    #[error("a header in the backup's archive is not of the ustar format")]
    NotUstar,
    /// A number is malformed.
    #[error("a header in the backup's archive has a malformed {field}")]
    MalformedNumber {
        /// The field.
        field: &'static str,
    },
    /// A path that may not be used.
    #[error(transparent)]
    UnsafePath(#[from] UnsafePath),
    /// A kind of entry that no server writes.
    #[error("the backup's archive has {path} as an entry of kind {kind:?}, which no server sends")]
    UnsupportedKind {
        /// Which.
        path: String,
        /// The type flag.
        kind: char,
    },
    /// A field that no server fills.
    #[error("the backup's archive has a name split in two, which no server sends")]
    SplitName,
    /// A directory or link with contents.
    #[error("the backup's archive has {path}, which is no file, with {bytes} bytes of contents")]
    ContentsOfNoFile {
        /// Which.
        path: EntryPath,
        /// How many.
        bytes: u64,
    },
    /// Bytes after the archive's end.
    #[error("the backup's archive goes on after its end")]
    AfterEnd,
    /// The archive ended early.
    #[error("the backup's archive ends in the middle")]
    Truncated,
}

/// Reads an archive as its bytes arrive, in chunks of any size.
///
/// Its memory is one block and the chunk it was given.
#[derive(Debug)]
pub struct TarReader {
    chunk: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    Header {
        block: Box<[u8; BLOCK_BYTES]>,
        filled: usize,
        zero_blocks: u8,
    },
    Contents {
        bytes_left: u64,
        padding: usize,
    },
    Padding {
        bytes_left: usize,
    },
}

impl Default for TarReader {
    fn default() -> Self {
        TarReader {
            chunk: Bytes::new(),
            state: State::header(0),
        }
    }
}

impl State {
    fn header(zero_blocks: u8) -> Self {
        State::Header {
            block: Box::new([0; BLOCK_BYTES]),
            filled: 0,
            zero_blocks,
        }
    }

    fn contents(bytes: u64) -> Self {
        let over = (bytes % BLOCK_BYTES as u64) as usize;
        State::Contents {
            bytes_left: bytes,
            padding: (BLOCK_BYTES - over) % BLOCK_BYTES,
        }
    }
}

impl TarReader {
    /// A reader at the beginning of an archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the next chunk. Take all events of the former one before.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the former chunk is used up");
        self.chunk = chunk;
    }

    /// The next event, or `None` until another chunk has come.
    ///
    /// # Errors
    /// The archive is not one that a server writes. The reader is of no more use.
    pub fn next_event(&mut self) -> Result<Option<TarEvent>, TarError> {
        loop {
            match &mut self.state {
                State::Contents {
                    bytes_left: 0,
                    padding,
                } => {
                    self.state = State::Padding {
                        bytes_left: *padding,
                    };
                    return Ok(Some(TarEvent::FileEnd));
                }
                State::Padding { bytes_left: 0 } => self.state = State::header(0),
                State::Contents { .. } | State::Padding { .. } | State::Header { .. }
                    if self.chunk.is_empty() =>
                {
                    return Ok(None);
                }
                State::Contents { bytes_left, .. } => {
                    let available = self.chunk.len();
                    let taken =
                        usize::try_from(*bytes_left).map_or(available, |left| left.min(available));
                    *bytes_left -= taken as u64;
                    return Ok(Some(TarEvent::Data(self.chunk.split_to(taken))));
                }
                State::Padding { bytes_left } => {
                    let taken = self.chunk.len().min(*bytes_left);
                    *bytes_left -= taken;
                    let _padding = self.chunk.split_to(taken);
                }
                State::Header {
                    block,
                    filled,
                    zero_blocks,
                } => {
                    let taken = self.chunk.len().min(BLOCK_BYTES - *filled);
                    block[*filled..*filled + taken].copy_from_slice(&self.chunk.split_to(taken));
                    *filled += taken;
                    if *filled < BLOCK_BYTES {
                        continue;
                    }
                    if block.iter().all(|byte| *byte == 0) {
                        *zero_blocks = (*zero_blocks + 1).min(END_BLOCKS);
                        *filled = 0;
                        continue;
                    }
                    if *zero_blocks > 0 {
                        return Err(TarError::AfterEnd);
                    }
                    let entry = Header(block).entry()?;
                    self.state = match entry.kind {
                        TarKind::File { bytes } => State::contents(bytes),
                        TarKind::Directory | TarKind::Symlink { .. } => State::header(0),
                    };
                    return Ok(Some(TarEvent::Entry(entry)));
                }
            }
        }
    }

    /// Says that no chunk follows.
    ///
    /// # Errors
    /// The archive had not come to its end.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            State::Header {
                filled: 0,
                zero_blocks: END_BLOCKS,
                ..
            } => Ok(()),
            State::Header { .. } | State::Contents { .. } | State::Padding { .. } => {
                Err(TarError::Truncated)
            }
        }
    }
}

/// A header block that is not all zeros.
struct Header<'a>(&'a [u8; BLOCK_BYTES]);

impl Header<'_> {
    const NAME: std::ops::Range<usize> = 0..100;
    const MODE: std::ops::Range<usize> = 100..108;
    const SIZE: std::ops::Range<usize> = 124..136;
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    const KIND: usize = 156;
    const LINK_TARGET: std::ops::Range<usize> = 157..257;
    const MAGIC: std::ops::Range<usize> = 257..263;
    const PREFIX: std::ops::Range<usize> = 345..500;

    /// The lowest 12 bits: permissions, set-id and sticky.
    const MODE_MASK: u64 = 0o7777;

    fn entry(&self) -> Result<TarEntry, TarError> {
        if self.number(Self::CHECKSUM) != Some(self.checksum()) {
            return Err(TarError::HeaderChecksum);
        }
        if &self.0[Self::MAGIC] != b"ustar\0" {
            return Err(TarError::NotUstar);
        }
        if self.0[Self::PREFIX.start] != 0 {
            return Err(TarError::SplitName);
        }
        let name = self.text(Self::NAME);
        // Only directories and links carry the slash at their end.
        let (name, slash) = match name.strip_suffix(b"/") {
            Some(name) => (name, true),
            None => (name, false),
        };
        // The server puts it before the directories that it makes up (`./pg_wal/archive_status`).
        let path = EntryPath::parse(name.strip_prefix(b"./").unwrap_or(name))?;
        let bytes = self
            .number(Self::SIZE)
            .ok_or(TarError::MalformedNumber { field: "size" })?;
        let mode = self
            .number(Self::MODE)
            .ok_or(TarError::MalformedNumber { field: "mode" })?;
        let kind = match self.0[Self::KIND] {
            b'0' if !slash => TarKind::File { bytes },
            b'5' => TarKind::Directory,
            b'2' => TarKind::Symlink {
                target: Bytes::copy_from_slice(self.text(Self::LINK_TARGET)),
            },
            other => {
                return Err(TarError::UnsupportedKind {
                    path: path.to_string(),
                    kind: other.into(),
                });
            }
        };
        if bytes > 0 && !matches!(kind, TarKind::File { .. }) {
            return Err(TarError::ContentsOfNoFile { path, bytes });
        }
        Ok(TarEntry {
            path,
            mode: (mode & Self::MODE_MASK) as u32,
            kind,
        })
    }

    /// Bytes up to the first zero, or the whole field.
    fn text(&self, field: std::ops::Range<usize>) -> &[u8] {
        let field = &self.0[field];
        let end = field.iter().position(|byte| *byte == 0);
        &field[..end.unwrap_or(field.len())]
    }

    /// Octal digits ended by a space or a zero byte, or 0x80 and the number in binary.
    fn number(&self, field: std::ops::Range<usize>) -> Option<u64> {
        let field = &self.0[field];
        if let [0x80, binary @ ..] = field {
            return binary.iter().try_fold(0u64, |number, byte| {
                (number >> 56 == 0).then_some(number << 8 | u64::from(*byte))
            });
        }
        let digits = field
            .iter()
            .position(|byte| !(b'0'..=b'7').contains(byte))
            .unwrap_or(field.len());
        let ended = field[digits..]
            .iter()
            .all(|byte| matches!(byte, b' ' | b'\0'));
        let octal = std::str::from_utf8(&field[..digits]).ok()?;
        if ended {
            u64::from_str_radix(octal, 8).ok()
        } else {
            None
        }
    }

    /// The sum of all bytes, the checksum's own taken as spaces.
    fn checksum(&self) -> u64 {
        self.0
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                if Self::CHECKSUM.contains(&at) {
                    u64::from(b' ')
                } else {
                    u64::from(*byte)
                }
            })
            .sum()
    }
}
