//! What nodes' cores say to each other. Any message may be lost, doubled or late.

use std::sync::Arc;

use manada_model::{Lsn, NodeName};
use serde::{Deserialize, Serialize};

use crate::position::{Epoch, Followed, LastWord};
use crate::record::{Record, Revision, Versioned};

/// From one core to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum Message {
    /// From a leader whose server is gone, or that was told to hand over: it makes way, and starts
    /// in place only if nobody has taken over for a while.
    Resigned {
        /// The reign that ends.
        epoch: Epoch,
        /// The place of the record that the leader knew: if commits wait for nobody, its word holds
        /// only so long as there is no later one.
        #[serde(default)]
        of: (u32, Revision),
        /// Who should campaign at once; the others give it time.
        successor: Option<NodeName>,
    },
    /// From a coordinator: promise this epoch, stop following, and say where your WAL ends.
    Recruit {
        /// The epoch that it has raised the record to.
        epoch: Epoch,
    },
    /// The answer.
    Recruited {
        /// The epoch that was promised.
        epoch: Epoch,
        /// The last word about its WAL.
        #[serde(rename = "position")]
        wal: LastWord,
    },
    /// The other answer: something higher is promised already.
    Refused {
        /// What.
        promised: Epoch,
    },
    /// The record has changed. As good as read from the store.
    Recorded {
        /// To this.
        record: Arc<Versioned<Record>>,
    },
    /// From a coordinator to the best of its recruits that may lead: another recruit, which may
    /// not, has WAL that you have not. Fetch it, and say again where yours ends.
    Fetch {
        /// The epoch that both have promised.
        epoch: Epoch,
        /// Who has it.
        from: NodeName,
        /// Up to where.
        upto: Lsn,
        /// What of it is of a reign whose rule is not in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unruled: Option<Followed>,
    },
}
