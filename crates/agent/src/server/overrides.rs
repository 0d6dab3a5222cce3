//! What `ALTER SYSTEM` says of the settings that the agent alone may make, and taking it back.
//!
//! `postgresql.auto.conf` is read last. A policy there would have commits wait for others than the
//! herd has published, and a server to follow there would have a node confirm what its promise
//! forbids; where it stays, no order to the contrary can be carried out.

use std::fs;
use std::io;
use std::path::PathBuf;

use manada_postgres::Session;
use manada_postgres::replace_file::{FileOwner, replace_file};

use super::Shared;
use super::error::OrderError;

/// What no failover is safe without, and what a standby does not follow without: `hot_standby`, since
/// one that takes no sessions says no coordinator where its WAL ends, and the name of its slot.
const OWN: [&str; 5] = [
    "hot_standby",
    "synchronous_standby_names",
    "primary_conninfo",
    "primary_slot_name",
    "restore_command",
];

/// What `ALTER SYSTEM` writes.
const AUTO_FILE: &str = "postgresql.auto.conf";

impl Shared {
    /// Takes back what stands there, with a running server. Says whether there was anything; then the
    /// server is to read its settings again.
    pub(super) async fn take_back(&self, session: &Session) -> Result<bool, OrderError> {
        let names = self.overrides()?;
        for name in &names {
            let reset = format!("ALTER SYSTEM RESET {name}");
            let reset = session.batch_execute(&reset).await;
            reset.map_err(OrderError::sql("take back what ALTER SYSTEM has set"))?;
            tracing::warn!(
                name,
                "ALTER SYSTEM had set what the herd decides: taken back"
            );
        }
        Ok(!names.is_empty())
    }

    /// The same for a server that does not run.
    pub(super) fn take_back_at_rest(&self) -> Result<(), OrderError> {
        self.remove_from_auto_file(&OWN)
    }

    /// Takes back what stands there of these settings, with a server that does not run.
    pub(super) fn remove_from_auto_file(&self, settings: &[&str]) -> Result<(), OrderError> {
        let text = self.auto_file()?;
        let kept: String = text
            .split_inclusive('\n')
            .filter(|line| name_among(settings, line).is_none())
            .collect();
        if kept == text {
            return Ok(());
        }
        let path = self.auto_path();
        let owner = FileOwner::like(&path).map_err(OrderError::io("look at", &path))?;
        replace_file(&path, &kept, owner)?;
        tracing::warn!(
            ?settings,
            "ALTER SYSTEM had set what the herd decides: taken back"
        );
        Ok(())
    }

    fn overrides(&self) -> Result<Vec<&'static str>, OrderError> {
        let text = self.auto_file()?;
        let names = text.lines().filter_map(|line| name_among(&OWN, line));
        Ok(names.collect())
    }

    fn auto_path(&self) -> PathBuf {
        self.node.file.data_directory.join(AUTO_FILE)
    }

    fn auto_file(&self) -> Result<String, OrderError> {
        let path = self.auto_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(OrderError::io("read", &path)(source)),
        }
    }
}

/// Which of these settings a line of the file makes. `ALTER SYSTEM` writes `name = 'value'` on one
/// line each (`write_auto_conf_file` in `guc.c`).
fn name_among<'a>(settings: &[&'a str], line: &str) -> Option<&'a str> {
    let name = line.split('=').next()?.trim();
    let mut settings = settings.iter().copied();
    settings.find(|setting| setting.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agents_own_settings_are_found() {
        assert_eq!(
            name_among(&OWN, "Synchronous_Standby_Names = ''"),
            Some("synchronous_standby_names")
        );
        assert_eq!(
            name_among(&OWN, "primary_conninfo='host=a'"),
            Some("primary_conninfo")
        );
        for line in ["work_mem = '1MB'", "# primary_conninfo = ''", "", "="] {
            assert_eq!(name_among(&OWN, line), None, "{line}");
        }
    }
}
