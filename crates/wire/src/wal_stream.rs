//! The copy stream of `START_REPLICATION`: WAL and keepalives in, standby status out.

use bytes::{BufMut, Bytes, BytesMut};
use manada_model::Lsn;

use crate::body::Body;
use crate::frame::DecodeError;
use crate::timestamp::Timestamp;

/// What a walsender sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalMessage {
    /// `w`: WAL.
    Data(WalData),
    /// `k`: where the server's WAL ends.
    Keepalive(Keepalive),
}

/// A run of WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalData {
    /// Where the first byte belongs.
    pub start_lsn: Lsn,
    /// Where the server's WAL ended when it was sent.
    pub server_end_lsn: Lsn,
    /// When it was sent, by the server's clock.
    pub sent_at: Timestamp,
    /// The WAL itself.
    pub data: Bytes,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Where the server's WAL ends.
    pub server_end_lsn: Lsn,
    /// When it was sent, by the server's clock.
    pub sent_at: Timestamp,
    /// The server drops the connection unless a status update comes soon.
    pub reply_requested: bool,
}

impl WalMessage {
    /// Decodes what a CopyData message holds.
    ///
    /// # Errors
    /// It is neither WAL nor a keepalive.
    pub fn decode(copy_data: Bytes) -> Result<Self, DecodeError> {
        let mut body = Body::new("WAL stream", copy_data);
        match body.u8()? {
            b'w' => Ok(WalMessage::Data(WalData {
                start_lsn: Lsn(body.u64()?),
                server_end_lsn: Lsn(body.u64()?),
                sent_at: Timestamp(body.i64()?),
                data: body.rest(),
            })),
            b'k' => {
                let keepalive = Keepalive {
                    server_end_lsn: Lsn(body.u64()?),
                    sent_at: Timestamp(body.i64()?),
                    reply_requested: body.u8()? != 0,
                };
                body.end()?;
                Ok(WalMessage::Keepalive(keepalive))
            }
            other => Err(body.unknown("kind", other)),
        }
    }
}

/// How far a receiver is. [`Lsn::INVALID`] says "nothing to report".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandbyStatus {
    /// Written, perhaps only to the page cache.
    pub write_lsn: Lsn,
    /// On disk.
    pub flush_lsn: Lsn,
    /// Applied. A receiver that applies nothing reports [`Lsn::INVALID`].
    pub replay_lsn: Lsn,
    /// When it is sent, by the client's clock.
    pub sent_at: Timestamp,
    /// The server shall answer at once.
    pub reply_requested: bool,
}

/// The bytes of a status update: its kind, three positions, a time, a flag.
const STATUS_BYTES: u32 = 1 + 3 * 8 + 8 + 1;

impl StandbyStatus {
    /// Appends a whole CopyData message with this status.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'd');
        out.put_u32(4 + STATUS_BYTES);
        out.put_u8(b'r');
        out.put_u64(self.write_lsn.0);
        out.put_u64(self.flush_lsn.0);
        out.put_u64(self.replay_lsn.0);
        out.put_i64(self.sent_at.0);
        out.put_u8(self.reply_requested.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_update_has_the_length_it_announces() {
        let mut out = BytesMut::new();
        StandbyStatus {
            write_lsn: Lsn(3),
            flush_lsn: Lsn(2),
            replay_lsn: Lsn::INVALID,
            sent_at: Timestamp(1),
            reply_requested: true,
        }
        .encode(&mut out);
        assert_eq!(out.len(), 1 + 4 + STATUS_BYTES as usize);
        assert_eq!(out[..6], [b'd', 0, 0, 0, 38, b'r']);
        assert_eq!(out.last(), Some(&1));
    }

    #[test]
    fn wal_is_a_slice_with_its_place() {
        let mut body = BytesMut::from(&b"w"[..]);
        body.put_u64(16);
        body.put_u64(32);
        body.put_i64(-1);
        body.put_slice(b"wal");
        let expected = WalData {
            start_lsn: Lsn(16),
            server_end_lsn: Lsn(32),
            sent_at: Timestamp(-1),
            data: Bytes::from_static(b"wal"),
        };
        assert_eq!(
            WalMessage::decode(body.freeze()),
            Ok(WalMessage::Data(expected))
        );
    }
}
