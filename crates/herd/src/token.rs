//! The join token: whom to ask, whom to believe, and the password for one question.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use manada_model::{HerdName, SystemIdentifier};
use manada_postgres::Secret;
use manada_postgres::address::HostAddress;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "manada1_";

/// A checksum against mistakes in copying, in bytes. It is no signature: what proves the herd is
/// the authority's fingerprint, and what proves the newcomer is the password.
const CHECKSUM_BYTES: usize = 6;

/// The longest text that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8192;

/// What a newcomer is told. A secret: whoever holds it may join until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The herd.
    pub herd: HerdName,
    /// How the primary is reached.
    pub addresses: Vec<HostAddress>,
    /// Its port.
    pub port: u16,
    /// The cluster's number.
    pub system_identifier: SystemIdentifier,
    /// The SHA-256 of the authority's certificate.
    pub authority_fingerprint: [u8; 32],
    /// The password of `manada_join`.
    pub password: Secret,
    /// When the password stops being one.
    pub expires_at: Timestamp,
}

/// The text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Something else altogether.
    #[error("this is no join token: one begins with {PREFIX}")]
    NotAToken,
    /// Cut short, changed, or with something added.
    #[error("the join token is damaged: it was cut short or changed on the way")]
    Damaged,
}

/// The token's content as it travels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    herd: HerdName,
    addresses: Vec<HostAddress>,
    port: u16,
    system: SystemIdentifier,
    ca: String,
    password: String,
    expires: i64,
}

impl Token {
    /// The one line to hand over. A secret.
    pub fn reveal(&self) -> Secret {
        let content = Content {
            herd: self.herd.clone(),
            addresses: self.addresses.clone(),
            port: self.port,
            system: self.system_identifier,
            ca: URL_SAFE_NO_PAD.encode(self.authority_fingerprint),
            password: self.password.reveal().to_owned(),
            expires: self.expires_at.as_second(),
        };
        let json = serde_json::to_vec(&content).expect("own types have string keys");
        let mut bytes = Sha256::digest(&json)[..CHECKSUM_BYTES].to_vec();
        bytes.extend(json);
        Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Whether it is of no use any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Token, InvalidToken> {
        // Mail and terminals break lines; nothing in a token is white.
        if text.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken::NotAToken);
        }
        let text: String = text.split_whitespace().collect();
        let body = text.strip_prefix(PREFIX).ok_or(InvalidToken::NotAToken)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| InvalidToken::Damaged)?;
        let (checksum, json) = bytes
            .split_at_checked(CHECKSUM_BYTES)
            .ok_or(InvalidToken::Damaged)?;
        if Sha256::digest(json)[..CHECKSUM_BYTES] != *checksum {
            return Err(InvalidToken::Damaged);
        }
        let content: Content = serde_json::from_slice(json).map_err(|_| InvalidToken::Damaged)?;
        let fingerprint = URL_SAFE_NO_PAD
            .decode(content.ca)
            .map_err(|_| InvalidToken::Damaged)?;
        if content.addresses.is_empty() || content.port == 0 {
            return Err(InvalidToken::Damaged);
        }
        Ok(Token {
            herd: content.herd,
            addresses: content.addresses,
            port: content.port,
            system_identifier: content.system,
            authority_fingerprint: fingerprint.try_into().map_err(|_| InvalidToken::Damaged)?,
            password: Secret::new(content.password),
            expires_at: Timestamp::from_second(content.expires)
                .map_err(|_| InvalidToken::Damaged)?,
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("herd", &self.herd)
            .field("addresses", &self.addresses)
            .field("port", &self.port)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        Token {
            herd: "main".parse().expect("valid"),
            addresses: vec![
                "10.0.0.1".parse().expect("ip"),
                "db1".parse().expect("name"),
            ],
            port: 5432,
            system_identifier: SystemIdentifier(u64::MAX),
            authority_fingerprint: [7; 32],
            password: Secret::new("hush-hush"),
            expires_at: Timestamp::from_second(1_800_000_000).expect("in range"),
        }
    }

    #[test]
    fn a_token_survives_copy_and_paste() {
        let text = token().reveal();
        assert_eq!(text.reveal().parse(), Ok(token()));
        let (one, other) = text.reveal().split_at(60);
        assert_eq!(format!(" {one}\n  {other}\r\n").parse(), Ok(token()));
        assert!(!format!("{:?}", token()).contains("hush"));
    }

    #[test]
    fn it_expires() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        assert!(!token().is_expired(at(1_799_999_999)));
        assert!(token().is_expired(at(1_800_000_000)));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in ["", "manada", "postgresql://a", &"x".repeat(10_000)] {
            assert_eq!(text.parse::<Token>(), Err(InvalidToken::NotAToken));
        }
    }

    proptest! {
        #[test]
        fn a_damaged_token_is_refused(cut in 8_usize..200, change in 8_usize..200) {
            let text = token().reveal();
            let text = text.reveal();
            prop_assert_eq!(text[..cut].parse::<Token>(), Err(InvalidToken::Damaged));
            let mut bytes = text.as_bytes().to_vec();
            bytes[change] = if bytes[change] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            prop_assert_eq!(changed.parse::<Token>(), Err(InvalidToken::Damaged));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,100}") {
            prop_assert!(text.parse::<Token>().is_err());
            let prefixed = format!("{PREFIX}{text}");
            prop_assert!(prefixed.parse::<Token>().is_err());
        }
    }
}
