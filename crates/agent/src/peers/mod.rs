//! What agents say to each other: HTTP over TLS, both sides with a certificate of the herd.

mod connect;
mod identity;
mod listener;
mod outbox;

use std::collections::BTreeMap;

use manada_core::message::Message;
use manada_model::NodeName;
use manada_store::Contact;
use serde::{Deserialize, Serialize};

pub(crate) use connect::connect;
pub use identity::{Identity, IdentityError};
pub use listener::{ListenError, Listener, Received};
pub use outbox::Outbox;

/// Where the nodes are, as the store says.
pub type Book = BTreeMap<NodeName, Contact>;

/// Where messages are posted.
const MESSAGES: &str = "/core";

/// The largest message that is read, in bytes: a record with all its reigns has about 20 000.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A message on its way. Who the sender is, its certificate says; both must be the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Letter {
    from: NodeName,
    message: Message,
}
