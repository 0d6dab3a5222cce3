//! A message's body, read field by field.

use bytes::{Buf, Bytes};

use crate::frame::DecodeError;

/// What is left of a message's body. Every read is checked; errors name the message.
pub(crate) struct Body {
    rest: Bytes,
    message: &'static str,
}

impl Body {
    pub(crate) fn new(message: &'static str, bytes: Bytes) -> Self {
        Body {
            rest: bytes,
            message,
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.rest.try_get_u8().map_err(|_| self.truncated())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.rest.try_get_u16().map_err(|_| self.truncated())
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.rest.try_get_i16().map_err(|_| self.truncated())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.rest.try_get_u32().map_err(|_| self.truncated())
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.rest.try_get_i32().map_err(|_| self.truncated())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.rest.try_get_u64().map_err(|_| self.truncated())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.rest.try_get_i64().map_err(|_| self.truncated())
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        if count > self.rest.len() {
            return Err(self.truncated());
        }
        Ok(self.rest.split_to(count))
    }

    /// A string that ends with a zero byte, without it.
    pub(crate) fn cstr(&mut self) -> Result<Bytes, DecodeError> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| self.truncated())?;
        let text = self.rest.split_to(end);
        self.rest.advance(1);
        Ok(text)
    }

    /// A string that ends with a zero byte and is UTF-8.
    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let message = self.message;
        String::from_utf8(self.cstr()?.into()).map_err(|_| DecodeError::NotUtf8 { message })
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// Says that the message has no more fields.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::TrailingBytes {
                message: self.message,
                bytes,
            }),
        }
    }

    pub(crate) fn unknown(&self, field: &'static str, value: impl Into<i64>) -> DecodeError {
        DecodeError::UnknownValue {
            message: self.message,
            field,
            value: value.into(),
        }
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated {
            message: self.message,
        }
    }
}
