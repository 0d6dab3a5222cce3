//! Who else sets what the agent alone may set: a line below the include of `manada.conf` or an option
//! of the postmaster wins over the agent's word, and no order can change it.

use manada_core::obstacle::{ForeignSetting, SettingPlace};
use manada_postgres::Session;
use manada_postgres::settings::FILE_NAME;
use tokio::sync::watch;

use super::policy::NAMES;
use super::said::Said;
use super::{LocalServer, Shared};

/// What `ALTER SYSTEM` writes: the next order takes it back.
const AUTO_FILE: &str = "postgresql.auto.conf";

impl LocalServer {
    /// Who else sets what commits wait for, as of the last look.
    pub fn foreign_setting(&self) -> watch::Receiver<Option<ForeignSetting>> {
        self.shared.foreign.subscribe()
    }
}

impl Shared {
    /// Looks whether anybody does, if the server has read its settings since `seen_at`.
    pub(super) async fn see_foreign(
        &self,
        session: &Session,
        said: &Said,
        seen_at: &mut Option<String>,
    ) {
        if seen_at.as_ref() == Some(&said.settings_read_at) {
            return;
        }
        // A server that gives no answer is asked again at the next look.
        if let Ok(foreign) = foreign_names(session).await {
            *seen_at = Some(said.settings_read_at.clone());
            self.foreign.send_if_modified(|known| {
                let news = *known != foreign;
                *known = foreign;
                news
            });
        }
    }
}

/// Who else sets `synchronous_standby_names`, by the session's word.
pub(super) async fn foreign_names(
    session: &Session,
) -> Result<Option<ForeignSetting>, tokio_postgres::Error> {
    let sql = "SELECT setting, source, coalesce(sourcefile, ''), coalesce(sourceline, 0) \
               FROM pg_settings WHERE name = $1";
    let row = session.query_one(sql, &[&NAMES]).await?;
    let (source, file): (&str, String) = (row.get(1), row.get(2));
    let line = u32::try_from(row.get::<_, i32>(3)).unwrap_or_default();
    Ok(place(source, file, line).map(|place| ForeignSetting {
        value: row.get(0),
        place,
    }))
}

/// The place of a setting that is not the agent's, by the words of `pg_settings`.
fn place(source: &str, file: String, line: u32) -> Option<SettingPlace> {
    let name = file.rsplit('/').next().unwrap_or_default();
    match source {
        "command line" => Some(SettingPlace::CommandLine),
        "configuration file" if name != FILE_NAME && name != AUTO_FILE => {
            Some(SettingPlace::Line { file, line })
        }
        // Nobody sets it, or the agent does: it is read by the server alone, so no user's and no
        // database's word counts.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_wins_over_the_agents_file_is_foreign() {
        let place = |source, file: &str| place(source, file.to_owned(), 7);
        assert_eq!(place("command line", ""), Some(SettingPlace::CommandLine));
        let file = "/etc/postgresql/15/main/postgresql.conf".to_owned();
        assert_eq!(
            place("configuration file", &file),
            Some(SettingPlace::Line { file, line: 7 })
        );
        for (source, file) in [
            ("default", ""),
            ("configuration file", "/data/manada.conf"),
            ("configuration file", "/data/postgresql.auto.conf"),
        ] {
            assert_eq!(place(source, file), None, "{file}");
        }
    }
}
