//! The lease: a sign of life in the store. Liveness rests on it, safety does not.

use std::time::Duration;

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::position::Epoch;

/// The leader's sign of life. It is written only while the record has `epoch`.
///
/// It says nothing about time: whoever watches it measures by its own clock for how long `beat`
/// has not changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The reign.
    pub epoch: Epoch,
    /// Who leads.
    pub leader: NodeName,
    /// One more each time.
    pub beat: u64,
    /// For how long after this beat the leader may be silent. Longer than usual while its agent
    /// restarts.
    #[serde(rename = "holds_for_ms", with = "holds_for")]
    pub holds_for: Duration,
    /// Where the leader's WAL ended: what is known to be at risk when commits wait for nobody.
    /// [`Lsn::INVALID`] until the rule of its reign is written.
    pub flush_lsn: Lsn,
}

mod holds_for {
    use super::Duration;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
