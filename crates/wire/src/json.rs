//! JSON cut into tokens as it streams, within a hard bound on memory.

/// The longest string or number that is accepted, in bytes.
///
/// The longest in a manifest is a path of `MAXPGPATH` (1024) bytes in hexadecimal.
pub(crate) const TOKEN_BYTES_MAX: usize = 4096;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Colon,
    Comma,
    String(String),
    /// As it is written: a system identifier does not fit a floating-point number.
    Number(String),
    True,
    False,
    Null,
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A byte that can't stand where it does.
    #[error("unexpected byte 0x{byte:02x}")]
    UnexpectedByte {
        /// The byte.
        byte: u8,
    },
    /// A word that is not `true`, `false` or `null`.
    #[error("unknown word")]
    UnknownWord,
    /// A string that is not UTF-8, or with an invalid escape.
    #[error("malformed string")]
    MalformedString,
    /// A string or number that is too long.
    #[error("a value longer than {TOKEN_BYTES_MAX} bytes")]
    TokenTooLong,
    /// The text ended within a token.
    #[error("unexpected end")]
    UnexpectedEnd,
}

/// Cuts bytes into tokens. Its memory is at most one token.
#[derive(Debug, Default)]
pub(crate) struct Lexer {
    state: State,
    text: Vec<u8>,
    /// The first half of a character that JSON writes as two escapes.
    high_surrogate: Option<u16>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Between,
    InString,
    Escape,
    Unicode {
        digits: u8,
        value: u16,
    },
    Number,
    Word,
}

impl Lexer {
    /// Takes one byte; returns the tokens that it ends: none, one, or a number and what follows.
    pub(crate) fn push(&mut self, byte: u8) -> Result<[Option<Token>; 2], JsonError> {
        match self.state {
            State::Between => Ok([self.begin(byte)?, None]),
            State::InString => Ok([self.in_string(byte)?, None]),
            State::Escape => {
                self.escape(byte)?;
                Ok([None, None])
            }
            State::Unicode { digits, value } => {
                self.unicode(byte, digits, value)?;
                Ok([None, None])
            }
            State::Number | State::Word => {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                    self.keep(byte)?;
                    return Ok([None, None]);
                }
                let ended = self.end_bare()?;
                Ok([Some(ended), self.begin(byte)?])
            }
        }
    }

    /// Says that no byte follows; returns the token that this ends.
    pub(crate) fn finish(&mut self) -> Result<Option<Token>, JsonError> {
        match self.state {
            State::Between => Ok(None),
            State::Number | State::Word => self.end_bare().map(Some),
            State::InString | State::Escape | State::Unicode { .. } => {
                Err(JsonError::UnexpectedEnd)
            }
        }
    }

    fn begin(&mut self, byte: u8) -> Result<Option<Token>, JsonError> {
        let token = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return Ok(None),
            b'{' => Token::ObjectStart,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayStart,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => {
                self.state = State::InString;
                return Ok(None);
            }
            b'-' | b'0'..=b'9' => {
                self.state = State::Number;
                self.keep(byte)?;
                return Ok(None);
            }
            b'a'..=b'z' => {
                self.state = State::Word;
                self.keep(byte)?;
                return Ok(None);
            }
            _ => return Err(JsonError::UnexpectedByte { byte }),
        };
        Ok(Some(token))
    }

    fn in_string(&mut self, byte: u8) -> Result<Option<Token>, JsonError> {
        if byte == b'\\' {
            self.state = State::Escape;
            return Ok(None);
        }
        if self.high_surrogate.is_some() || byte < b' ' {
            return Err(JsonError::MalformedString);
        }
        if byte != b'"' {
            self.keep(byte)?;
            return Ok(None);
        }
        self.state = State::Between;
        String::from_utf8(std::mem::take(&mut self.text))
            .map(|text| Some(Token::String(text)))
            .map_err(|_| JsonError::MalformedString)
    }

    fn escape(&mut self, byte: u8) -> Result<(), JsonError> {
        let character = match byte {
            b'u' => {
                self.state = State::Unicode {
                    digits: 0,
                    value: 0,
                };
                return Ok(());
            }
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => return Err(JsonError::MalformedString),
        };
        if self.high_surrogate.is_some() {
            return Err(JsonError::MalformedString);
        }
        self.state = State::InString;
        self.keep(character)
    }

    fn unicode(&mut self, byte: u8, digits: u8, value: u16) -> Result<(), JsonError> {
        let digit = char::from(byte)
            .to_digit(16)
            .ok_or(JsonError::MalformedString)?;
        let value = value << 4 | digit as u16;
        if digits < 3 {
            self.state = State::Unicode {
                digits: digits + 1,
                value,
            };
            return Ok(());
        }
        self.state = State::InString;
        let units = match self.high_surrogate.take() {
            Some(high) => vec![high, value],
            None if (0xD800..0xDC00).contains(&value) => {
                self.high_surrogate = Some(value);
                return Ok(());
            }
            None => vec![value],
        };
        let text = String::from_utf16(&units).map_err(|_| JsonError::MalformedString)?;
        text.bytes().try_for_each(|byte| self.keep(byte))
    }

    fn keep(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.text.len() >= TOKEN_BYTES_MAX {
            return Err(JsonError::TokenTooLong);
        }
        self.text.push(byte);
        Ok(())
    }

    fn end_bare(&mut self) -> Result<Token, JsonError> {
        let text = String::from_utf8(std::mem::take(&mut self.text))
            .map_err(|_| JsonError::MalformedString)?;
        let token = match (self.state, text.as_str()) {
            (State::Number, _) => Token::Number(text),
            (_, "true") => Token::True,
            (_, "false") => Token::False,
            (_, "null") => Token::Null,
            _ => return Err(JsonError::UnknownWord),
        };
        self.state = State::Between;
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token>, JsonError> {
        let mut lexer = Lexer::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            found.extend(lexer.push(byte)?.into_iter().flatten());
        }
        found.extend(lexer.finish()?);
        Ok(found)
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(
            tokens(r#""a\"\\\/\n\u00f1\ud83d\ude00""#),
            Ok(vec![Token::String("a\"\\/\nñ😀".into())])
        );
    }

    #[test]
    fn a_number_ends_where_punctuation_begins() {
        assert_eq!(
            tokens("[18446744073709551615]"),
            Ok(vec![
                Token::ArrayStart,
                Token::Number("18446744073709551615".into()),
                Token::ArrayEnd
            ])
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800x\"",
            "\"\n\"",
            "nil",
            "\u{7f}",
        ] {
            assert!(tokens(text).is_err(), "{text:?}");
        }
        assert_eq!(
            tokens(&format!("\"{}\"", "a".repeat(TOKEN_BYTES_MAX + 1))),
            Err(JsonError::TokenTooLong)
        );
    }
}
