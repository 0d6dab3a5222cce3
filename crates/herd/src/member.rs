//! The nodes of a herd, as its table has them.

use manada_model::NodeName;
use manada_postgres::Session;
use manada_postgres::address::HostAddress;
use manada_postgres::quote::{Unquotable, literal};
use serde::{Deserialize, Serialize};

use crate::home::Home;

/// A row of `manada.member`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node.
    pub name: NodeName,
    /// The address that the others use.
    pub host: HostAddress,
    /// The server's port.
    pub port: u16,
    /// All addresses it connects from or is reached by; access rules are made of them.
    pub addresses: Vec<HostAddress>,
    /// The SHA-256 of its public key, in hexadecimal: whoever has the key is this node.
    pub key_fingerprint: String,
}

impl Member {
    /// A statement that adds this member, or brings its row up to date.
    pub(crate) fn upsert_sql(&self) -> Result<String, Unquotable> {
        let json = serde_json::to_string(self).expect("own types have string keys");
        Ok(format!(
            "INSERT INTO manada.member (name, host, port, addresses, key_fingerprint)\n\
             SELECT name, host, port, addresses, key_fingerprint\n\
             FROM jsonb_populate_record(NULL::manada.member, {})\n\
             ON CONFLICT (name) DO UPDATE SET host = excluded.host, port = excluded.port,\n\
             addresses = excluded.addresses, key_fingerprint = excluded.key_fingerprint;\n",
            literal(&json)?
        ))
    }
}

/// The members, as the table has them on the server that is asked.
///
/// # Errors
/// The server does not answer, or has no such table.
pub async fn members(session: &Session) -> Result<Vec<Member>, tokio_postgres::Error> {
    let row = session.query_one(MEMBERS_QUERY, &[]).await?;
    let text: String = row.get(0);
    Ok(serde_json::from_str(&text).expect("the table holds members"))
}

/// The members as this host's agent has written them down; none where no agent has, or what is there
/// can't be read.
pub fn remembered(home: &Home) -> Vec<Member> {
    let text = std::fs::read_to_string(home.members_file()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// All rows as one JSON array.
const MEMBERS_QUERY: &str = "SELECT coalesce(jsonb_agg(to_jsonb(member) - 'added_at' \
     ORDER BY added_at), '[]')::text FROM manada.member AS member";
