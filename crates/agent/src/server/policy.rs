//! What commits wait for: put in force, and proven where the setting alone proves nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use manada_core::policy::Policy;
use manada_core::server::Enforced;
use manada_herd::protection::NOBODY;
use manada_model::{NodeName, StandbyName, SyncPolicy, SyncRule};
use manada_postgres::Session;
use tokio::time::Instant;

use super::Shared;
use super::error::OrderError;
use super::foreign::foreign_names;

/// The parameter.
pub(super) const NAMES: &str = "synchronous_standby_names";

/// How long commits are tried until one is seen waiting. One is enough unless the checkpointer is
/// busy.
const SEEN_WAITING_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

impl Shared {
    /// Has commits wait for that and no longer for what they waited for before.
    ///
    /// From one list of names to another, a new session that shows the new one is enough: every
    /// walsender has the signal, and obeys it before it reads a reply to WAL that is written from
    /// here on (`docs/design/sync.md`). So no walsender is ended, and no commit waits for one to come
    /// back. From no names at all it is not: backends then follow a flag that only the checkpointer
    /// sets. So the step in between is to wait for nobody, under which a commit is surely seen
    /// waiting if the flag is set.
    pub(super) async fn enforce(&self, enforced: &Enforced) -> Result<(), OrderError> {
        let wanted = names_of(enforced)?;
        let session = self.session().await?;
        let now = shown(&session).await?;
        if now.is_empty() && !wanted.is_empty() {
            let nobody = names_of(&Enforced::Nobody)?;
            let session = self.set_names(&nobody).await?;
            self.prove_waiting(&session).await?;
        }
        let session = self.set_names(&wanted).await?;
        self.leave(session);
        Ok(())
    }

    async fn set_names(&self, names: &str) -> Result<Session, OrderError> {
        let mut change = self.change()?;
        set(&mut change, names);
        let session = self.put_in_force(change).await?;
        demand(&session, names).await?;
        Ok(session)
    }

    /// Refuses a server whose commits wait for somebody, although they were to wait for nobody.
    pub(super) async fn demand_nobody(&self, session: &Session) -> Result<(), OrderError> {
        demand(session, &names_of(&Enforced::Nobody)?).await
    }

    /// Makes a commit on this primary, where commits wait for nobody, and sees it wait.
    pub(super) async fn prove_waiting(&self, watcher: &Session) -> Result<(), OrderError> {
        let deadline = Instant::now() + SEEN_WAITING_WITHIN;
        while Instant::now() < deadline {
            if self.one_commit_waits(watcher, deadline).await? {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(OrderError::NotWaiting {
            within: SEEN_WAITING_WITHIN,
        })
    }

    async fn one_commit_waits(
        &self,
        watcher: &Session,
        deadline: Instant,
    ) -> Result<bool, OrderError> {
        let session = self.open().await?;
        let row = session.query_one("SELECT pg_backend_pid()", &[]).await;
        let pid: i32 = row.map_err(OrderError::sql("prepare a commit"))?.get(0);
        let canceller = session.canceller();
        let commit = session.batch_execute(
            "SET synchronous_commit = on; \
             SELECT pg_logical_emit_message(true, 'manada', 'probe')",
        );
        let mut commit = std::pin::pin!(commit);
        let look = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&pid];
        loop {
            let looked = tokio::select! {
                biased;
                done = &mut commit => {
                    done.map_err(OrderError::sql("make a commit"))?;
                    return Ok(false);
                }
                looked = watcher.query_opt(look, &parameters) => looked,
            };
            let row = looked.map_err(OrderError::sql("see whether a commit waits"))?;
            let waits = row.and_then(|row| row.get::<_, Option<bool>>(0)) == Some(true);
            if waits || Instant::now() >= deadline {
                // What it leaves behind is a transaction without contents.
                canceller.cancel().await?;
                return Ok(waits);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

/// Has commits wait for nobody, from the next start or reload on.
pub(super) fn set_nobody(change: &mut super::configure::Change) {
    set(change, &SyncPolicy::Wait(nobody()).to_string());
}

fn set(change: &mut super::configure::Change, names: &str) {
    let reason = "What commits wait for, as the herd has published it.";
    change.set(NAMES, names, reason);
}

async fn shown(session: &Session) -> Result<String, OrderError> {
    let row = session
        .query_one("SELECT current_setting('synchronous_standby_names')", &[])
        .await;
    Ok(row
        .map_err(OrderError::sql("see what commits wait for"))?
        .get(0))
}

/// Refuses a server that shows other names.
async fn demand(session: &Session, names: &str) -> Result<(), OrderError> {
    let shown = shown(session).await?;
    if shown == names {
        return Ok(());
    }
    let foreign = foreign_names(session).await;
    Err(
        match foreign.map_err(OrderError::sql("see who sets what commits wait for"))? {
            Some(setting) => OrderError::Foreign { setting },
            None => OrderError::Overridden { name: NAMES, shown },
        },
    )
}

fn nobody() -> SyncRule {
    SyncRule {
        method: manada_model::SyncMethod::Any,
        count: NonZeroU32::MIN,
        names: vec![StandbyName::new(NOBODY)],
    }
}

fn names_of(enforced: &Enforced) -> Result<String, OrderError> {
    let policy = match enforced {
        Enforced::Nobody => SyncPolicy::Wait(nobody()),
        Enforced::Policy(policy) => as_setting(policy),
        Enforced::Foreign => return Err(OrderError::ForeignPolicy),
    };
    Ok(policy.to_string())
}

fn as_setting(policy: &Policy) -> SyncPolicy {
    match NonZeroU32::new(policy.count) {
        None => SyncPolicy::Off,
        Some(count) => SyncPolicy::Wait(SyncRule {
            method: policy.method,
            count,
            names: policy
                .standbys
                .iter()
                .map(|name| StandbyName::new(name.as_str()))
                .collect(),
        }),
    }
}

/// What a value of `synchronous_standby_names` makes commits wait for.
pub(super) fn enforced_by(names: &str) -> Enforced {
    let rule = match names.parse::<SyncPolicy>() {
        Ok(SyncPolicy::Off) => return Enforced::Policy(Policy::asynchronous()),
        Ok(SyncPolicy::Wait(rule)) => rule,
        Err(_) => return Enforced::Foreign,
    };
    if let [name] = rule.names.as_slice()
        && name.as_str() == NOBODY
    {
        return Enforced::Nobody;
    }
    let names = rule.names.iter().map(|name| name.as_str().parse());
    match names.collect::<Result<Vec<NodeName>, _>>() {
        Ok(standbys) => Enforced::Policy(Policy {
            method: rule.method,
            count: rule.count.get(),
            standbys,
        }),
        Err(_) => Enforced::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manada_model::SyncMethod;

    #[test]
    fn what_is_written_is_read_back() {
        let policy = Policy {
            method: SyncMethod::First,
            count: 2,
            standbys: ["b", "a", "any"]
                .map(|name| name.parse().expect("valid"))
                .to_vec(),
        };
        for enforced in [
            Enforced::Nobody,
            Enforced::Policy(policy),
            Enforced::Policy(Policy::asynchronous()),
        ] {
            let names = names_of(&enforced).expect("ours");
            assert_eq!(enforced_by(&names), enforced, "{names}");
        }
    }

    #[test]
    fn what_others_write_is_foreign() {
        for names in ["*", "ANY 1 (a, \"B c\")", "FIRST (", "\"-nobody-\", a"] {
            assert_eq!(enforced_by(names), Enforced::Foreign, "{names}");
        }
    }
}
