//! Names that are safe wherever a herd writes them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest herd or node name, in bytes. With [`SLOT_PREFIX`] a node's slot stays within
/// PostgreSQL's limit of 63 (`NAMEDATALEN - 1`).
const NAME_BYTES_MAX: usize = 40;

/// What marks a replication slot as the herd's own.
const SLOT_PREFIX: &str = "manada_";

const _: () = assert!(NAME_BYTES_MAX + SLOT_PREFIX.len() <= 63);

/// The text can't name a node or a herd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} can't be a {kind} name: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and _, beginning with a letter"
)]
pub struct InvalidName {
    kind: &'static str,
    text: String,
}

fn check(kind: &'static str, text: &str) -> Result<String, InvalidName> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let valid = text.len() <= NAME_BYTES_MAX
        && text.bytes().all(allowed)
        && text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase());
    if valid {
        Ok(text.to_owned())
    } else {
        Err(InvalidName {
            kind,
            text: text.chars().take(80).collect(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check($kind, text).map(Self)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        crate::serde_as_text!($type);
    };
}

name!(
    /// A node of a herd: its `application_name`, a part of its slot's name and of its paths.
    ///
    /// The grammar is what all three places take without quoting.
    NodeName,
    "node"
);
name!(
    /// A herd: a part of paths and of its certificates' subjects.
    HerdName,
    "herd"
);

impl NodeName {
    /// The name of the physical slot the primary holds for this node.
    pub fn slot(&self) -> SlotName {
        SlotName(format!("{SLOT_PREFIX}{}", self.0))
    }
}

/// A replication slot's name, as PostgreSQL allows it: 1 to 63 of a-z, 0-9 and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SlotName(String);

impl SlotName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a herd made this slot for one of its nodes.
    pub fn node(&self) -> Option<NodeName> {
        self.0.strip_prefix(SLOT_PREFIX)?.parse().ok()
    }
}

impl FromStr for SlotName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(SlotName(text.to_owned()))
        } else {
            Err(InvalidName {
                kind: "slot",
                text: text.chars().take(80).collect(),
            })
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(41);
        for text in [
            "", "1a", "_a", "A", "a b", "a'b", "a\"b", "a;b", "ñandú", "a\n", "..", "a/b", &long,
        ] {
            assert!(text.parse::<NodeName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_slot_leads_back_to_its_node() {
        let node: NodeName = "db_2".parse().expect("a valid name");
        assert_eq!(node.slot().as_str(), "manada_db_2");
        assert_eq!(node.slot().node(), Some(node));
        assert_eq!(
            "other".parse::<SlotName>().expect("a valid slot").node(),
            None
        );
    }
}
