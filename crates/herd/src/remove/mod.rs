//! Taking a node out of the herd: its part in the policy, its rule, its slot and its row go, in this
//! order, so that no commit waits for a standby that is gone. Its data stays.

mod leave;
mod policy;

use manada_model::{NodeName, ParseSyncPolicyError, SyncPolicy};
use manada_postgres::Session;
use manada_postgres::os_user::OsUserError;
use manada_postgres::process::StopError;
use manada_postgres::quote::{Unquotable, literal};
use manada_postgres::replace_file::{FileOwner, ReplaceFileError};
use manada_postgres::session::server_message;
use manada_postgres::settings::{ManagedSettings, Setting, SettingsError};
use serde::{Deserialize, Serialize};

pub use leave::{AnswerLeaveError, LeaveError, answer_leave, leave, retire};
pub use policy::{PolicyChange, WouldHang};

use crate::home::HomeError;
use crate::member::Member;
use crate::node::Node;
use crate::server_files::{ServerFilesError, write_access_block};

/// The parameter that holds the policy.
const POLICY: &str = "synchronous_standby_names";

/// A node can't be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The herd knows nothing of it.
    #[error("the herd {herd} has no node {name}")]
    Unknown {
        /// The herd.
        herd: manada_model::HerdName,
        /// The node.
        name: NodeName,
    },
    /// It would not be safe.
    #[error(transparent)]
    Refused(#[from] RemovalRefusal),
    /// The policy in force can't be read.
    #[error("synchronous_standby_names can't be read: {0}")]
    Policy(#[from] ParseSyncPolicyError),
    /// The server refuses.
    #[error("{attempt}: {}", server_message(source))]
    Sql {
        /// What was attempted.
        attempt: &'static str,
        /// The server's word.
        source: tokio_postgres::Error,
    },
    /// `manada.conf`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// `pg_hba.conf`.
    #[error(transparent)]
    Files(#[from] ServerFilesError),
    /// A file can't be looked at or written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// We may not act as the server's user.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// A name can't be written.
    #[error(transparent)]
    Unquotable(#[from] Unquotable),
    /// The node's server does not stop.
    #[error(transparent)]
    Stop(#[from] StopError),
}

/// Why a removal would not be safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum RemovalRefusal {
    /// It is the one that takes the writes.
    #[error("{name} is the primary")]
    IsPrimary {
        /// The node.
        name: NodeName,
    },
    /// Every commit would wait.
    #[error(
        "without {name} every commit would wait: the policy asks for {} of {}, and too few of them stream",
        would_hang.count,
        would_hang.names.join(", ")
    )]
    WouldHang {
        /// The node.
        name: NodeName,
        /// What would be left.
        would_hang: WouldHang,
    },
    /// What commits wait for is the agents' to change.
    #[error("agents protect the herd: {name} is removed on the host of its primary")]
    Protected {
        /// The node.
        name: NodeName,
    },
    /// The policy is not `manada.conf`'s to change.
    #[error(
        "synchronous_standby_names names {name} and is set by ALTER SYSTEM, which overrides manada.conf"
    )]
    Overridden {
        /// The node.
        name: NodeName,
    },
}

/// What the primary's server says, as far as a removal depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemovalFacts {
    policy: String,
    by_alter_system: bool,
    streaming: Vec<String>,
    has_slot: bool,
    members: Vec<Member>,
}

/// An SQL expression that gives the facts about the node that another expression names.
pub(crate) const FACTS_EXPRESSION: &str = "jsonb_build_object(
      'policy', current_setting('synchronous_standby_names'),
      'by_alter_system', (SELECT coalesce(sourcefile LIKE '%/postgresql.auto.conf', false)
                          FROM pg_settings WHERE name = 'synchronous_standby_names'),
      'streaming', (SELECT coalesce(jsonb_agg(application_name), '[]')
                    FROM pg_stat_replication WHERE state = 'streaming'),
      'has_slot', EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'manada_' || @NODE@),
      'members', (SELECT coalesce(jsonb_agg(to_jsonb(member) - 'added_at' ORDER BY added_at), '[]')
                  FROM manada.member AS member))";

/// A removal, thought through on the primary's host.
#[derive(Debug)]
pub struct Removal {
    /// The node that goes.
    pub name: NodeName,
    /// What it does to the policy.
    pub policy: PolicyChange,
    /// Whether it has a slot, which goes.
    pub has_slot: bool,
    /// Whether it streams now.
    pub is_streaming: bool,
    /// The others.
    members: Vec<Member>,
}

impl Removal {
    /// Says what removing `name` would do. `session` is a superuser's on the primary, `primary`.
    pub async fn plan(
        primary: &Node,
        session: &Session,
        name: &NodeName,
    ) -> Result<Removal, RemoveError> {
        let facts = FACTS_EXPRESSION.replace("@NODE@", &literal(name.as_str())?);
        let row = session
            .query_one(&format!("SELECT ({facts})::text"), &[])
            .await
            .map_err(|source| RemoveError::Sql {
                attempt: "asking about the herd",
                source,
            })?;
        let text: String = row.get(0);
        let facts: RemovalFacts =
            serde_json::from_str(&text).expect("the query builds what is read here");
        let is_member = facts.members.iter().any(|member| member.name == *name);
        let removal = Removal::decide(primary, name, facts)?;
        let is_known = is_member
            || removal.has_slot
            || removal.is_streaming
            || removal.policy != PolicyChange::None;
        if !is_known {
            return Err(RemoveError::Unknown {
                herd: primary.file.herd.clone(),
                name: name.clone(),
            });
        }
        Ok(removal)
    }

    fn decide(
        primary: &Node,
        name: &NodeName,
        facts: RemovalFacts,
    ) -> Result<Removal, RemoveError> {
        if *name == primary.file.name {
            return Err(RemovalRefusal::IsPrimary { name: name.clone() }.into());
        }
        let policy: SyncPolicy = facts.policy.parse()?;
        let change =
            policy::without(&policy, name.as_str(), &facts.streaming).map_err(|would_hang| {
                RemovalRefusal::WouldHang {
                    name: name.clone(),
                    would_hang,
                }
            })?;
        if facts.by_alter_system && change != PolicyChange::None {
            return Err(RemovalRefusal::Overridden { name: name.clone() }.into());
        }
        let mut members = facts.members;
        members.retain(|member| member.name != *name);
        Ok(Removal {
            name: name.clone(),
            policy: change,
            has_slot: facts.has_slot,
            is_streaming: facts.streaming.iter().any(|it| it == name.as_str()),
            members,
        })
    }

    /// Strikes the node from the list of members and leaves all else as it is: the agents of a
    /// protected herd follow the list.
    pub async fn strike(&self, session: &Session) -> Result<(), RemoveError> {
        session
            .execute(
                "DELETE FROM manada.member WHERE name = $1",
                &[&self.name.as_str()],
            )
            .await
            .map_err(|source| RemoveError::Sql {
                attempt: "striking the node from the list of members",
                source,
            })?;
        Ok(())
    }

    /// Ends the node's connection and drops its slot, once no commit waits for it any more.
    pub async fn forget(&self, session: &Session) -> Result<(), RemoveError> {
        let sql = format!("SELECT manada.forget({})", literal(self.name.as_str())?);
        session
            .batch_execute(&sql)
            .await
            .map_err(|source| RemoveError::Sql {
                attempt: "dropping the slot",
                source,
            })
    }

    /// Does it in a herd that no agents protect. A second run does what is left.
    pub async fn run(&self, primary: &Node, session: &Session) -> Result<(), RemoveError> {
        self.write_files(primary)?;
        let reloaded = session.execute("SELECT pg_reload_conf()", &[]).await;
        reloaded.map_err(|source| RemoveError::Sql {
            attempt: "having the files read",
            source,
        })?;
        self.forget(session).await
    }

    /// The policy first, then the rule.
    fn write_files(&self, primary: &Node) -> Result<(), RemoveError> {
        let user = primary.user()?;
        let _lock = primary.home.lock(&user)?;
        if let Some(value) = self.policy.value() {
            let path = primary.file.settings_file();
            let mut settings = ManagedSettings::read(&path)?;
            let reason = match &self.policy {
                PolicyChange::Off { .. } | PolicyChange::None => {
                    "Commits wait for no standby: the last that they waited for was removed."
                }
                PolicyChange::Reduced { .. } => {
                    "What a commit waits for before it is acknowledged."
                }
            };
            settings.set(Setting::new(POLICY, value, reason));
            let owner =
                FileOwner::like(&primary.file.config_file).map_err(|source| ReplaceFileError {
                    path: path.clone(),
                    source,
                })?;
            settings.write(&path, owner)?;
        }
        write_access_block(&primary.file, &self.members)?;
        Ok(())
    }
}
