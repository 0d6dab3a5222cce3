//! A standby leaves by itself: it shows its own certificate, so that no node can remove another.

use std::io::Read;
use std::path::PathBuf;

use manada_model::NodeName;
use manada_postgres::conninfo::{ConninfoError, Environment};
use manada_postgres::process::{STOPPED_WITHIN, StopMode, stop};
use manada_postgres::replace_file::ReplaceFileError;
use manada_postgres::session::server_message;
use manada_postgres::settings::{ManagedSettings, SettingsError};
use manada_postgres::{ConnectError, Conninfo, Session};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;

use super::{PolicyChange, Removal, RemovalFacts, RemovalRefusal, RemoveError};
use crate::admit::{AdmitError, read_hexadecimal};
use crate::home::HomeError;
use crate::node::{HomeFiles, Node};

/// A standby could not leave.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// It does not know its primary.
    #[error("{} does not say whom this node follows", path.display())]
    NoPrimary {
        /// `manada.conf`.
        path: PathBuf,
    },
    /// What it says is no connection.
    #[error(transparent)]
    Conninfo(#[from] ConninfoError),
    /// `manada.conf` can't be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The primary can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The primary failed.
    #[error("asking the primary to be let go: {}", server_message(source))]
    Sql {
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// It would not be safe.
    #[error(transparent)]
    Refused(#[from] RemovalRefusal),
}

/// What the primary's host answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LeaveReply {
    Left(PolicyChange),
    Refused(RemovalRefusal),
}

/// Asks the primary of the standby `node` to forget it. Says what became of the policy.
pub async fn leave(node: &Node) -> Result<PolicyChange, LeaveError> {
    let path = node.file.settings_file();
    let settings = ManagedSettings::read(&path)?;
    let followed = settings
        .value("primary_conninfo")
        .ok_or(LeaveError::NoPrimary { path })?;
    let primary = Conninfo::parse(followed, &Environment::default())?;
    let monitor = node.monitor(node.endpoint());
    let session = Session::open(&Conninfo {
        endpoints: primary.endpoints,
        ..monitor
    })
    .await?;
    let row = session
        .query_one("SELECT manada.leave()", &[])
        .await
        .map_err(|source| LeaveError::Sql { source })?;
    let Json(reply) = row
        .try_get::<_, Json<LeaveReply>>(0)
        .map_err(|source| LeaveError::Sql { source })?;
    match reply {
        LeaveReply::Left(change) => Ok(change),
        LeaveReply::Refused(refusal) => Err(refusal.into()),
    }
}

/// What `manada.leave` hands over; all of it is the server's own word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    ticket: String,
    node: NodeName,
    facts: RemovalFacts,
}

/// The primary's side, which `manada.leave` runs: brings policy and rules up to date and leaves the
/// answer in the node's home.
pub fn answer_leave(primary: &Node, input: impl Read) -> Result<(), AnswerLeaveError> {
    let json = read_hexadecimal(input)?;
    let payload: Payload = serde_json::from_slice(&json).map_err(|error| AdmitError::Payload {
        reason: error.to_string(),
    })?;
    if primary.file.protect.is_some() {
        let name = payload.node;
        return answer(
            primary,
            &payload.ticket,
            &LeaveReply::Refused(RemovalRefusal::Protected { name }),
        );
    }
    let reply = match Removal::decide(primary, &payload.node, payload.facts) {
        Ok(removal) => {
            removal.write_files(primary)?;
            LeaveReply::Left(removal.policy)
        }
        Err(RemoveError::Refused(refusal)) => LeaveReply::Refused(refusal),
        Err(error) => return Err(error.into()),
    };
    answer(primary, &payload.ticket, &reply)
}

/// Leaves the answer where the server reads it.
fn answer(primary: &Node, ticket: &str, reply: &LeaveReply) -> Result<(), AnswerLeaveError> {
    let mut answer = serde_json::to_value(reply).expect("own types have string keys");
    answer["ticket"] = ticket.into();
    let user = primary.user().map_err(RemoveError::from)?;
    let files = HomeFiles {
        home: &primary.home,
        user: &user,
    };
    Ok(files.write(&primary.home.admission_answer(), &answer.to_string())?)
}

/// The primary's host could not answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerLeaveError {
    /// What the server hands over can't be read.
    #[error(transparent)]
    Payload(#[from] AdmitError),
    /// It can't be done.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The answer can't be written.
    #[error(transparent)]
    Answer(#[from] ReplaceFileError),
}

/// Stops the server of a node that left, and takes the node from this host's list. Its data stays
/// where it is; the name of its file says that it is no node any more.
pub fn retire(node: &Node) -> Result<PathBuf, RemoveError> {
    stop(&node.file.data_directory, StopMode::Fast, STOPPED_WITHIN)?;
    let file = node.home.node_file();
    let retired = file.with_extension("toml.removed");
    std::fs::rename(&file, &retired).map_err(HomeError::io("rename", &file))?;
    Ok(retired)
}
