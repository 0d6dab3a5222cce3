//! The forms of etcd's JSON gateway: protocol buffers as JSON, keys and values in base64, and
//! 64-bit numbers as strings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use manada_core::lease::Lease;
use manada_core::record::{Record, Revision, Versioned};
use manada_model::{HerdName, NodeName};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::contact::Contact;
use crate::error::Cause;
use crate::store::Snapshot;

pub(super) const AUTHENTICATE: &str = "/v3/auth/authenticate";
pub(super) const DELETE: &str = "/v3/kv/deleterange";
pub(super) const PUT: &str = "/v3/kv/put";
pub(super) const RANGE: &str = "/v3/kv/range";
pub(super) const STATUS: &str = "/v3/maintenance/status";
pub(super) const TRANSFER_LEADERSHIP: &str = "/v3/maintenance/transfer-leadership";
pub(super) const TXN: &str = "/v3/kv/txn";
pub(super) const WATCH: &str = "/v3/watch";

/// A herd's keys: `…/record`, `…/lease`, and `…/node/NAME` for each node.
pub(super) struct Keys {
    first: String,
    after_last: String,
    record: String,
    lease: String,
    nodes: String,
}

/// What was written, and what was there besides.
pub(super) struct Put {
    pub(super) revision: Revision,
    pub(super) lease: Option<Lease>,
}

/// What was there instead of what was expected.
pub(super) struct Found(pub(super) Option<Versioned<Record>>);

impl Keys {
    pub(super) fn new(prefix: &str, herd: &HerdName) -> Keys {
        let herd = format!("{prefix}/{herd}");
        Keys {
            first: format!("{herd}/"),
            // The byte after a slash.
            after_last: format!("{herd}0"),
            record: format!("{herd}/record"),
            lease: format!("{herd}/lease"),
            nodes: format!("{herd}/node/"),
        }
    }

    pub(super) fn record(&self) -> &str {
        &self.record
    }

    pub(super) fn lease(&self) -> &str {
        &self.lease
    }

    pub(super) fn contact(&self, name: &NodeName) -> String {
        format!("{}{name}", self.nodes)
    }

    /// Asks for all of them.
    pub(super) fn range(&self) -> Value {
        json!({ "key": encode(&self.first), "range_end": encode(&self.after_last) })
    }

    /// Asks to be told of changes from that revision on.
    pub(super) fn watch(&self, from: Revision) -> Value {
        json!({ "create_request": {
            "key": encode(&self.first),
            "range_end": encode(&self.after_last),
            "start_revision": from.0.to_string(),
        } })
    }

    /// Writes `key`, and reads the lease, if the record was last changed at the revision
    /// `expected`, or is not there; reads the record otherwise.
    pub(super) fn put_if(&self, expected: Option<Revision>, key: &str, value: &str) -> Value {
        // A key that is not there has the revision 0.
        let expected = expected.unwrap_or_default().0.to_string();
        let record = encode(&self.record);
        json!({
            "compare": [{
                "key": record, "target": "MOD", "result": "EQUAL", "mod_revision": expected,
            }],
            "success": [
                { "request_put": { "key": encode(key), "value": encode(value) } },
                { "request_range": { "key": encode(&self.lease) } },
            ],
            "failure": [{ "request_range": { "key": record } }],
        })
    }

    /// Reads the answer to [`Keys::range`].
    pub(super) fn snapshot(&self, answer: &[u8]) -> Result<(Snapshot, Revision), Cause> {
        let answer: Range = parse("etcd's answer to a range", answer)?;
        let mut snapshot = Snapshot::default();
        for pair in answer.pairs {
            self.apply(&mut snapshot, Event::Put(pair))?;
        }
        Ok((snapshot, Revision(answer.header.revision)))
    }

    /// Brings the snapshot up to date with one change. A key that is none of ours changes nothing.
    pub(super) fn apply(&self, snapshot: &mut Snapshot, event: Event) -> Result<(), Cause> {
        let (pair, put) = match event {
            Event::Put(pair) => (pair, true),
            Event::Delete(pair) => (pair, false),
        };
        let key = pair.key.0.as_slice();
        if key == self.record.as_bytes() {
            snapshot.record = put.then(|| record(&pair)).transpose()?;
        } else if key == self.lease.as_bytes() {
            let lease = || parse("the lease", &pair.value.0);
            snapshot.lease = put.then(lease).transpose()?;
        } else if let Some(name) = key.strip_prefix(self.nodes.as_bytes()) {
            let name = std::str::from_utf8(name).ok();
            let Some(name) = name.and_then(|name| name.parse::<NodeName>().ok()) else {
                return Ok(());
            };
            if put {
                let contact: Contact = parse("a node's contact", &pair.value.0)?;
                snapshot.book.insert(name, contact);
            } else {
                snapshot.book.remove(&name);
            }
        }
        Ok(())
    }
}

/// A password login.
pub(super) fn authenticate(user: &str, password: &str) -> Value {
    json!({ "name": user, "password": password })
}

/// Writes a key whatever is there.
pub(super) fn put(key: &str, value: &str) -> Value {
    json!({ "key": encode(key), "value": encode(value) })
}

/// Removes a key.
pub(super) fn delete(key: &str) -> Value {
    json!({ "key": encode(key) })
}

/// Has the leader that is asked hand over to that member.
pub(super) fn transfer_leadership(to: u64) -> Value {
    json!({ "targetID": to.to_string() })
}

/// A value as it is stored.
pub(super) fn text(value: &impl Serialize) -> Result<String, Cause> {
    serde_json::to_string(value).map_err(|error| Cause::Malformed {
        what: "what is to be written",
        error,
    })
}

/// Reads the token out of the answer to [`authenticate`].
pub(super) fn token(answer: &[u8]) -> Result<String, Cause> {
    #[derive(Deserialize)]
    struct Answer {
        token: String,
    }
    parse("etcd's answer to a login", answer).map(|answer: Answer| answer.token)
}

/// What a member says of itself.
#[derive(Clone, Copy)]
pub(super) struct Status {
    /// Its own number.
    pub(super) member: u64,
    /// The number of the cluster's leader; 0 where it knows none.
    pub(super) leader: u64,
    /// The term of that leader.
    pub(super) term: u64,
    /// How far it has applied the log.
    pub(super) applied: u64,
}

/// Reads the answer to a question for the status.
pub(super) fn status(answer: &[u8]) -> Result<Status, Cause> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        header: Responder,
        #[serde(default, deserialize_with = "number")]
        leader: u64,
        #[serde(deserialize_with = "number")]
        raft_term: u64,
        #[serde(deserialize_with = "number")]
        raft_applied_index: u64,
    }
    #[derive(Deserialize)]
    struct Responder {
        #[serde(deserialize_with = "number")]
        member_id: u64,
    }
    let answer: Answer = parse("etcd's answer about a member", answer)?;
    Ok(Status {
        member: answer.header.member_id,
        leader: answer.leader,
        term: answer.raft_term,
        applied: answer.raft_applied_index,
    })
}

/// The term of etcd's leader as of which a request was answered, where the answer says it.
pub(super) fn term(answer: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Answer {
        header: Term,
    }
    #[derive(Deserialize)]
    struct Term {
        #[serde(deserialize_with = "number")]
        raft_term: u64,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    Some(answer.header.raft_term)
}

/// Reads the answer to [`Keys::put_if`].
pub(super) fn decided(answer: &[u8]) -> Result<Result<Put, Found>, Cause> {
    #[derive(Deserialize)]
    struct Txn {
        header: Header,
        #[serde(default)]
        succeeded: bool,
        #[serde(default)]
        responses: Vec<Response>,
    }
    #[derive(Deserialize)]
    struct Response {
        #[serde(alias = "responseRange")]
        response_range: Option<Range>,
    }
    let answer: Txn = parse("etcd's answer to a transaction", answer)?;
    let ranges = answer
        .responses
        .into_iter()
        .filter_map(|one| one.response_range);
    let read = ranges.flat_map(|range| range.pairs).next();
    if answer.succeeded {
        let lease = read.map(|pair| parse("the lease", &pair.value.0));
        return Ok(Ok(Put {
            revision: Revision(answer.header.revision),
            lease: lease.transpose()?,
        }));
    }
    let current = read.map(|pair| record(&pair)).transpose()?;
    Ok(Err(Found(current)))
}

/// Why etcd refuses.
pub(super) struct Refusal {
    /// gRPC's status code.
    pub(super) code: u32,
    /// Its words.
    pub(super) message: String,
}

/// Reads a refusal, which may also be a proxy's page.
pub(super) fn refusal(answer: &[u8]) -> Refusal {
    /// gRPC's code for what has no other.
    const UNKNOWN: u32 = 2;
    // Older gateways say `error` and `message` both.
    #[derive(Deserialize)]
    struct Both {
        #[serde(default)]
        code: u32,
        message: Option<String>,
        error: Option<String>,
    }
    match serde_json::from_slice::<Both>(answer) {
        Ok(both) => Refusal {
            code: both.code,
            message: both.message.or(both.error).unwrap_or_default(),
        },
        Err(_) => Refusal {
            code: UNKNOWN,
            message: String::from_utf8_lossy(answer).into_owned(),
        },
    }
}

/// What a watch's line tells.
pub(super) enum Told {
    /// These changes; none when the watch has just begun.
    Events(Vec<Event>),
    /// The watch has ended, since etcd has forgotten the revision or can't go on.
    Ended,
}

/// One change.
pub(super) enum Event {
    /// This is there now.
    Put(Pair),
    /// This is there no more.
    Delete(Pair),
}

/// Reads one line of a watch.
pub(super) fn told(line: &[u8]) -> Result<Told, Cause> {
    #[derive(Deserialize)]
    struct Line {
        result: Option<Answer>,
    }
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        canceled: bool,
        #[serde(default)]
        events: Vec<Raw>,
    }
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default, rename = "type")]
        kind: Kind,
        kv: Pair,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    enum Kind {
        #[default]
        Put,
        Delete,
    }
    let line: Line = parse("a line of etcd's watch", line)?;
    Ok(match line.result {
        Some(answer) if !answer.canceled => {
            let event = |raw: Raw| match raw.kind {
                Kind::Put => Event::Put(raw.kv),
                Kind::Delete => Event::Delete(raw.kv),
            };
            Told::Events(answer.events.into_iter().map(event).collect())
        }
        Some(_) | None => Told::Ended,
    })
}

/// An inner answer of a transaction has none.
#[derive(Default, Deserialize)]
struct Header {
    #[serde(deserialize_with = "number")]
    revision: u64,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    header: Header,
    #[serde(default, rename = "kvs")]
    pairs: Vec<Pair>,
}

/// A key and its value.
#[derive(Deserialize)]
pub(super) struct Pair {
    key: Base64,
    #[serde(default)]
    value: Base64,
    #[serde(alias = "modRevision", deserialize_with = "number")]
    mod_revision: u64,
}

#[derive(Default)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base64, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Base64).map_err(D::Error::custom)
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

fn encode(text: &str) -> String {
    STANDARD.encode(text)
}

fn record(pair: &Pair) -> Result<Versioned<Record>, Cause> {
    Ok(Versioned {
        revision: Revision(pair.mod_revision),
        value: parse("the herd's record", &pair.value.0)?,
    })
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &[u8]) -> Result<T, Cause> {
    serde_json::from_slice(text).map_err(|error| Cause::Malformed { what, error })
}
