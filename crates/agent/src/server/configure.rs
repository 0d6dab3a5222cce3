//! Changing settings and access rules, and being sure that the server has read them.
//!
//! Every change carries a number, `manada.change`, in `manada.conf`, which is written last. The
//! postmaster reads the settings, signals all its processes, and reads the access rules in one go
//! (`SIGHUP_handler`, from 16 on `process_pm_reload_request`, in `postmaster.c`), and passes what it
//! has read to the sessions it makes afterwards. So a *new* session that shows the number proves that
//! settings and rules are the postmaster's, and that every process has the signal to read the former.

use std::fs;
use std::time::Duration;

use manada_herd::{Door, protection};
use manada_postgres::Session;
use manada_postgres::os_user::OsUser;
use manada_postgres::process::reload;
use manada_postgres::replace_file::{FileOwner, replace_file};
use manada_postgres::settings::{INCLUDE_LINE, ManagedSettings, Setting, with_include};
use tokio::time::Instant;

use super::Shared;
use super::error::OrderError;

/// How long a server is given to read its settings again: it takes a few milliseconds.
const READ_WITHIN: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// The number of a change.
const CHANGE: &str = "manada.change";

/// What to change.
#[derive(Debug)]
pub(super) struct Change {
    settings: ManagedSettings,
    before: ManagedSettings,
    door: Option<Door>,
}

impl Change {
    /// Sets one parameter.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>, reason: &str) {
        self.settings.set(Setting::new(name, value, reason));
    }

    /// All settings.
    pub(super) fn settings(&mut self) -> &mut ManagedSettings {
        &mut self.settings
    }

    /// Opens or closes the door.
    pub(super) fn door(&mut self, door: Door) {
        self.door = Some(door);
    }
}

impl Shared {
    /// A change that begins with what is there.
    pub(super) fn change(&self) -> Result<Change, OrderError> {
        let settings = ManagedSettings::read(&self.node.file.settings_file())?;
        Ok(Change {
            before: settings.clone(),
            settings,
            door: None,
        })
    }

    /// Writes a change, and says whether there was one.
    pub(super) fn write(&self, change: Change) -> Result<bool, OrderError> {
        let mut changed = self.restore_include()? || change.settings != change.before;
        if let Some(door) = change.door {
            changed |= self.write_access(door)?;
        }
        if changed {
            self.write_as_next(change)?;
        }
        Ok(changed)
    }

    /// Has the server's configuration include `manada.conf` again, where somebody has replaced it by one
    /// that doesn't: without it no order reaches the server. Says whether that was so. What stands
    /// below the include is left there.
    fn restore_include(&self) -> Result<bool, OrderError> {
        let path = &self.node.file.config_file;
        let text = fs::read_to_string(path).map_err(OrderError::io("read", path))?;
        if text.lines().any(|line| line.trim() == INCLUDE_LINE) {
            return Ok(false);
        }
        let Some(text) = with_include(&text) else {
            return Ok(false);
        };
        let owner = FileOwner::like(path).map_err(OrderError::io("read", path))?;
        replace_file(path, &text, owner)?;
        tracing::warn!(file = %path.display(), "the configuration did not include manada.conf any more: it does again");
        Ok(true)
    }

    /// Writes the settings, with the next number.
    fn write_as_next(&self, mut change: Change) -> Result<(), OrderError> {
        let number = change
            .before
            .value(CHANGE)
            .and_then(|text| text.parse().ok());
        change.set(
            CHANGE,
            (number.unwrap_or(0_u64) + 1).to_string(),
            "The number of this change: by it the agent sees that the server has read it.",
        );
        let path = self.node.file.settings_file();
        let config_file = &self.node.file.config_file;
        let owner = FileOwner::like(config_file).map_err(OrderError::io("read", config_file))?;
        change.settings.write(&path, owner)?;
        Ok(())
    }

    pub(super) fn write_access(&self, door: Door) -> Result<bool, OrderError> {
        let user = OsUser::of_data_directory(&self.node.file.data_directory)?;
        let members = self.lock_members().clone();
        Ok(protection::write_access(&self.node, &user, &members, door)?)
    }

    /// Writes a change and has the running server read it. The session that is returned is new, and
    /// has it.
    pub(super) async fn put_in_force(&self, change: Change) -> Result<Session, OrderError> {
        let rules_changed = change.door.is_some();
        if self.write(change)? {
            reload(&self.node.file.data_directory)?;
        }
        let mut session = self.have_read().await?;
        if self.take_back(&session).await? {
            self.write_as_next(self.change()?)?;
            session = self.have_read().await?;
        }
        if rules_changed {
            prove_rules(&session).await?;
        }
        Ok(session)
    }

    /// Has the running server read what is written, if it has not; returns a new session that has
    /// it.
    async fn have_read(&self) -> Result<Session, OrderError> {
        let settings = ManagedSettings::read(&self.node.file.settings_file())?;
        let wanted = settings.value(CHANGE).unwrap_or_default();
        let deadline = Instant::now() + READ_WITHIN;
        let mut told = false;
        loop {
            let attempt = tokio::time::timeout_at(deadline, async {
                let session = self.open().await?;
                let sql = "SELECT coalesce(current_setting($1, true), '')";
                let row = session.query_one(sql, &[&CHANGE]).await;
                let row = row.map_err(OrderError::sql("see which settings are in force"))?;
                let shown: String = row.get(0);
                Ok::<_, OrderError>((shown == wanted).then_some(session))
            });
            let not_read = OrderError::NotRead {
                within: READ_WITHIN,
            };
            match attempt.await {
                Ok(Ok(Some(session))) => return Ok(session),
                Ok(Ok(None)) if Instant::now() < deadline => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) | Err(_) => return Err(not_read),
            }
            if !told {
                reload(&self.node.file.data_directory)?;
                told = true;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

/// Proves that nothing keeps the server from using its access rules: with a mistake anywhere in the
/// file it goes on with those it has.
async fn prove_rules(session: &Session) -> Result<(), OrderError> {
    let sql = "SELECT coalesce(string_agg(format('line %s: %s', line_number, error), '; '), '') \
               FROM pg_hba_file_rules WHERE error IS NOT NULL";
    let row = session.query_one(sql, &[]).await;
    let mistakes: String = row
        .map_err(OrderError::sql("check the access rules"))?
        .get(0);
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(OrderError::AccessRules { mistakes })
    }
}
