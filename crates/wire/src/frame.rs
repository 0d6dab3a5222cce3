//! Frames: cuts the server's bytes into messages, within a hard bound on memory.

use bytes::{Buf, BytesMut};

use crate::backend::BackendMessage;

/// The longest message that is accepted, in bytes, its length field included.
///
/// The longest a server sends to a replication client is 128 KiB of WAL and its header
/// (`MAX_SEND_SIZE` in walsender.c); errors and timeline histories are far shorter.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// How much room [`Decoder::read_buffer`] makes for one read from a socket, in bytes.
pub const READ_BYTES: usize = 256 << 10;

/// The most memory that a [`Decoder`] holds, in bytes: one message that is not yet whole, and
/// what was read after it.
pub const DECODER_BYTES_MAX: usize = 2 * (MESSAGE_BYTES_MAX + READ_BYTES);

/// A message's type byte and its length.
const HEADER_BYTES: usize = 5;
/// The length field counts itself.
const LENGTH_BYTES: usize = 4;

const _: () = assert!(READ_BYTES > HEADER_BYTES && MESSAGE_BYTES_MAX > LENGTH_BYTES);

/// What a server sent is not a message of the protocol, or not one for a replication client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message claims more bytes than [`MESSAGE_BYTES_MAX`].
    #[error(
        "the server announced a message of type {kind:?} with {bytes} bytes; the most that is accepted is {MESSAGE_BYTES_MAX}"
    )]
    MessageTooLong {
        /// The message's type byte.
        kind: char,
        /// The length that it claims, in bytes.
        bytes: u32,
    },
    /// The length does not even cover the length field.
    #[error("the server sent a message of type {kind:?} with the impossible length {bytes}")]
    MessageTooShort {
        /// The message's type byte.
        kind: char,
        /// The length that it claims, in bytes.
        bytes: u32,
    },
    /// A type byte that no backend message has.
    #[error("the server sent a message of unknown type {kind:?}: is it PostgreSQL?")]
    UnknownMessage {
        /// The message's type byte.
        kind: char,
    },
    /// A message ended in the middle of a field.
    #[error("the server's {message} message ends in the middle of a field")]
    Truncated {
        /// The message's name in the manual.
        message: &'static str,
    },
    /// A message goes on after its last field.
    #[error("the server's {message} message has {bytes} bytes too many")]
    TrailingBytes {
        /// The message's name in the manual.
        message: &'static str,
        /// How many.
        bytes: usize,
    },
    /// A text field is not UTF-8.
    #[error("the server's {message} message has a text that is not UTF-8")]
    NotUtf8 {
        /// The message's name in the manual.
        message: &'static str,
    },
    /// A field holds a value that the protocol does not define.
    #[error("the server's {message} message has the unknown value {value} as its {field}")]
    UnknownValue {
        /// The message's name in the manual.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
}

/// Cuts bytes into messages.
///
/// Read into [`read_buffer`](Self::read_buffer) (or copy with [`feed`](Self::feed)), then take
/// messages until there is none. Payloads are slices of the bytes that were read, not copies.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to append at most [`READ_BYTES`] to, with room for them.
    ///
    /// Take all messages before the next call: that is what bounds the buffer.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// Appends a copy of `bytes`.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes have come.
    ///
    /// # Errors
    /// The bytes are not a message that a replication client is sent. The connection is of no
    /// more use.
    pub fn next_message(&mut self) -> Result<Option<BackendMessage>, DecodeError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let claimed = u32::from_be_bytes(length);
        let bytes = usize::try_from(claimed).unwrap_or(usize::MAX);
        if bytes > MESSAGE_BYTES_MAX {
            return Err(DecodeError::MessageTooLong {
                kind: kind.into(),
                bytes: claimed,
            });
        }
        if bytes < LENGTH_BYTES {
            return Err(DecodeError::MessageTooShort {
                kind: kind.into(),
                bytes: claimed,
            });
        }
        if self.buffer.len() < 1 + bytes {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(bytes - LENGTH_BYTES).freeze();
        BackendMessage::decode(kind, body).map(Some)
    }

    /// How many bytes are held that no message was made of yet.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// How much memory the decoder holds, in bytes; at most [`DECODER_BYTES_MAX`].
    pub fn capacity_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}
