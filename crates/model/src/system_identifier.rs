//! Which database cluster a data directory belongs to.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// The number `initdb` gives a cluster; its physical standbys share it.
///
/// Written as a decimal string, in JSON too: it does not fit a JavaScript number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SystemIdentifier(pub u64);

impl fmt::Display for SystemIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemIdentifier {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(SystemIdentifier)
    }
}

crate::serde_as_text!(SystemIdentifier);
