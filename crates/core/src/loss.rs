//! How much WAL a failover may give up where it can't be sure to have all that was acknowledged.

use serde::{Deserialize, Serialize};

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossBound {
    /// At most so many bytes, and it has to be known that there are no more.
    Bytes(u64),
    /// Whatever there is, known or not.
    Any,
}

impl LossBound {
    /// Whether so much may be lost; `None` is a loss of which nobody knows the size.
    pub(crate) fn allows(self, bytes: Option<u64>) -> bool {
        match self {
            LossBound::Any => true,
            LossBound::Bytes(bound) => bytes.is_some_and(|bytes| bytes <= bound),
        }
    }
}
