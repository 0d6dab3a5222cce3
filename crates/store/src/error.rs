//! Why a request to the store failed, and whether it may have been carried out all the same.

use std::fmt;
use std::io;

use crate::location::Endpoint;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("can't {request}: {cause}")]
pub struct StoreError {
    /// What was asked for.
    pub request: Request,
    /// Whether the store may have changed.
    pub effect: Effect,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// What a store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Everything about the herd.
    Read,
    /// The first record.
    Create,
    /// Another record.
    Swap,
    /// The lease.
    Renew,
    /// A node's contact.
    Register,
    /// No contact any more.
    Unregister,
    /// Another leader of the store's own.
    MoveLeader,
}

/// What became of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The store is as it was.
    NotDone,
    /// It was sent, and the answer did not come or does not say. It may be done later still.
    Unknown,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No answer within the time a request has.
    #[error("no answer within {} ms", crate::REQUEST_MAX.as_millis())]
    TimedOut,
    /// No endpoint takes connections; the last one tried.
    #[error("{endpoint} takes no connection")]
    Unreachable {
        /// Which.
        endpoint: Endpoint,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {endpoint} broke")]
    Broken {
        /// To whom.
        endpoint: Endpoint,
        /// Why.
        #[source]
        error: hyper::Error,
    },
    /// The answer broke off.
    #[error("the answer of {endpoint} breaks off")]
    AnswerBroke {
        /// Whose.
        endpoint: Endpoint,
        /// Why.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// etcd refuses.
    #[error("{endpoint} answers {message:?} (code {code})")]
    Refused {
        /// Who.
        endpoint: Endpoint,
        /// gRPC's status code.
        code: u32,
        /// Its words, shortened.
        message: String,
    },
    /// An answer that is longer than any this crate asks for.
    #[error("the answer is longer than {max_bytes} bytes")]
    TooLong {
        /// The bound.
        max_bytes: usize,
    },
    /// What was read is not what this crate writes, or not what the API says.
    #[error("{what} can't be read")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
    /// The file can't be made.
    #[error("can't make the file")]
    File(#[source] io::Error),
    /// The file is deleted and made anew again and again.
    #[error("the file is another one each time that it is opened")]
    Moving,
    /// The file is a database of something else.
    #[error("the file is a database, and not a store of Manada")]
    Foreign,
    /// A later version of Manada has changed the file.
    #[error("the file has tables of version {version}: a newer Manada made them")]
    Newer {
        /// Which.
        version: i64,
    },
    /// SQLite fails.
    #[error("SQLite fails")]
    Sqlite(#[source] rusqlite::Error),
    /// Earlier requests hang in the file system, as many as there may be.
    #[error("{hanging} earlier requests hang in the file system")]
    Stuck {
        /// How many.
        hanging: usize,
    },
}

impl StoreError {
    /// What the store said, where it answered and refused: a password, a right or a certificate that
    /// is wrong, or no room. Nothing helps then but a person.
    pub fn refusal(&self) -> Option<String> {
        /// gRPC's codes of a store that is busy or short of members, which passes by itself.
        const PASSING: [u32; 4] = [4, 10, 13, 14];
        match &self.cause {
            Cause::Refused { code, message, .. } if !PASSING.contains(code) => {
                Some(message.clone())
            }
            // A certificate that is not trusted, or that the store does not take.
            Cause::Unreachable { error, .. } if error.kind() == io::ErrorKind::InvalidData => {
                Some(error.to_string())
            }
            Cause::Refused { .. }
            | Cause::Unreachable { .. }
            | Cause::TimedOut
            | Cause::Broken { .. }
            | Cause::AnswerBroke { .. }
            | Cause::TooLong { .. }
            | Cause::Malformed { .. }
            | Cause::File(_)
            | Cause::Foreign
            | Cause::Newer { .. }
            | Cause::Sqlite(_)
            | Cause::Stuck { .. }
            | Cause::Moving => None,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Request::Read => "read the store",
            Request::Create => "create the herd's record",
            Request::Swap => "change the herd's record",
            Request::Renew => "renew the lease",
            Request::Register => "register a node",
            Request::Unregister => "take a node out of the address book",
            Request::MoveLeader => "move the store's own leader to another member",
        })
    }
}

impl Request {
    /// Whether it can change the store.
    pub fn writes(self) -> bool {
        match self {
            Request::Read => false,
            Request::Create
            | Request::Swap
            | Request::Renew
            | Request::Register
            | Request::Unregister
            | Request::MoveLeader => true,
        }
    }

    /// This request failed before it was sent, or with a definite refusal.
    pub(crate) fn not_done(self, cause: Cause) -> StoreError {
        StoreError {
            request: self,
            effect: Effect::NotDone,
            cause,
        }
    }

    /// This request failed after it may have been heard.
    pub(crate) fn in_doubt(self, cause: Cause) -> StoreError {
        StoreError {
            request: self,
            effect: if self.writes() {
                Effect::Unknown
            } else {
                Effect::NotDone
            },
            cause,
        }
    }
}
