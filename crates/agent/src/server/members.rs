//! The herd's members as this host knows them: kept on disk, since a server that is down can't be
//! asked whom it shall follow.

use std::path::Path;

use manada_herd::{Door, Member, protection};
use manada_model::NodeName;
use manada_postgres::Session;
use manada_postgres::conninfo::{Conninfo, Endpoint, Environment, Host};

use manada_postgres::control_file::ControlFile;
use manada_postgres::replace_file::{FileOwner, replace_file};

use super::Shared;
use super::error::OrderError;
use super::policy::set_nobody;

/// The members that were written last; none where they were never.
pub(super) fn read(path: &Path) -> Vec<Member> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the members can't be read");
            return Vec::new();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "the members can't be read");
        Vec::new()
    })
}

impl Shared {
    pub(super) async fn admit_members(&self, members: &[Member]) -> Result<(), OrderError> {
        if *self.lock_members() != members {
            self.write_members(members)?;
            *self.lock_members() = members.to_vec();
        }
        let running = self.watch.running()?.is_some();
        let session = if running {
            Some(self.open().await?)
        } else {
            None
        };
        let is_standby = match &session {
            Some(session) => in_recovery(session).await?,
            None => true,
        };
        let door = protection::door(&self.node.file.hba_file)?;
        if !is_standby && door == Door::Open {
            // Before the command asks for it.
            self.allow_archiving()?;
        }
        let mut change = self.change()?;
        let checksums = ControlFile::read(&self.node.file.data_directory)
            .is_ok_and(|control_file| control_file.data_checksums);
        let present = change.settings().clone();
        for setting in protection::settings(&present, &self.node.home, checksums)? {
            change.settings().set(setting);
        }
        if is_standby && running {
            set_nobody(&mut change);
        }
        change.door(door);
        if !running {
            self.write(change)?;
            return Ok(());
        }
        let session = self.put_in_force(change).await?;
        self.keep_slots(&session).await?;
        if is_standby && !self.checkpointer_obeys() {
            // Before a promotion needs it; an order that comes first ends the wait.
            self.have_checkpointer_obey(&session).await?;
        }
        Ok(())
    }

    pub(super) async fn read_members(&self) -> Result<Vec<Member>, OrderError> {
        let session = self.open().await?;
        let read = manada_herd::member::members(&session).await;
        read.map_err(OrderError::sql("read the members"))
    }

    fn write_members(&self, members: &[Member]) -> Result<(), OrderError> {
        let home = self.node.home.path();
        let owner = FileOwner::like(home)
            .map_err(OrderError::io("look at", home))?
            .with_mode(0o600);
        let text = serde_json::to_string_pretty(members).expect("own types have string keys");
        Ok(replace_file(&self.node.home.members_file(), &text, owner)?)
    }

    /// Where that member's server answers.
    pub(super) fn endpoint_of(&self, name: &NodeName) -> Option<Endpoint> {
        let members = self.lock_members();
        let member = members.iter().find(|member| member.name == *name)?;
        Some(Endpoint::tcp(member.host.to_string(), member.port))
    }

    /// Which member a `primary_conninfo` names.
    pub(super) fn whom(&self, conninfo: &str) -> Option<NodeName> {
        let nothing = Environment::of([]);
        let parsed = Conninfo::parse(conninfo, &nothing).ok()?;
        let members = self.lock_members();
        members
            .iter()
            .find(|member| {
                parsed
                    .endpoints
                    .iter()
                    .any(|endpoint| is_at(member, endpoint))
            })
            .map(|member| member.name.clone())
    }
}

async fn in_recovery(session: &Session) -> Result<bool, OrderError> {
    let row = session.query_one("SELECT pg_is_in_recovery()", &[]).await;
    Ok(row.map_err(OrderError::sql("see what it is"))?.get(0))
}

fn is_at(member: &Member, endpoint: &Endpoint) -> bool {
    let Host::Tcp(host) = &endpoint.host else {
        return false;
    };
    let mut hosts = std::iter::once(&member.host).chain(&member.addresses);
    member.port == endpoint.port && hosts.any(|address| address.to_string() == *host)
}
