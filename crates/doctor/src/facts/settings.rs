//! The settings in force: `pg_settings`.

use std::collections::BTreeMap;
use std::time::Duration;

use manada_postgres::Session;
use tokio_postgres::Row;

use super::gather::rows;
use super::identity::Rights;
use super::source::{Source, Unknown, Why};

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Settings {
    by_name: BTreeMap<String, Setting>,
    /// Why restricted settings are missing, where they are.
    restricted: Option<Why>,
    /// Why there are none at all.
    unread: Option<Unknown>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its value in its unit, as `pg_settings.setting` has it.
    pub value: String,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// Where the value comes from.
    pub origin: SettingOrigin,
    /// Whether a change of it takes a restart.
    pub needs_restart: bool,
    /// Whether it was changed in a file and takes effect only at a restart.
    pub pending_restart: bool,
}

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    /// The built-in default.
    Default,
    /// A line of a configuration file.
    File {
        /// The file.
        path: String,
        /// The line.
        line: u32,
    },
    /// A configuration file that the role may not know.
    HiddenFile,
    /// The server's command line or its environment.
    CommandLine,
    /// The session: the server's own value can't be seen from here.
    Session,
}

/// Passwords are taken out on the server and never come here. In a well-formed `keyword = value`
/// string and in a URI the value goes; of anything else, all that follows the word.
const SQL: &str = r"
SELECT name,
       CASE WHEN name = 'ssl_passphrase_command' THEN ''
            WHEN name <> 'primary_conninfo' OR setting !~* 'password|://[^/]*:' THEN setting
            WHEN setting ~ '^postgres(ql)?://'
            THEN regexp_replace(regexp_replace(setting, '(://[^:@/?]*:).*@', '\1***@'),
                                '(password=)[^&]*', '\1***', 'gi')
            WHEN setting ~ '^(\s*\w+\s*=\s*(''([^''\\]|\\.)*''(?=\s|$)|([^\s''\\]|\\.)([^\s\\]|\\.)*)?)*\s*$'
            THEN regexp_replace(setting,
                   '(password\s*=\s*)(''([^''\\]|\\.)*''|([^\s''\\]|\\.)([^\s\\]|\\.)*)',
                   '\1***', 'gi')
            ELSE regexp_replace(setting, 'password.*$', 'password=***', 'i')
       END AS setting,
       coalesce(unit, '') AS unit, source, sourcefile, sourceline,
       context = 'postmaster' AS needs_restart, pending_restart
FROM pg_settings";

impl Settings {
    pub(super) async fn read(session: &Session, rights: &Rights) -> Settings {
        let read = rows(session, Source::Settings, SQL, |row| {
            (row.get::<_, String>("name"), Setting::of(row))
        })
        .await;
        let restricted = (!rights.read_all_settings).then_some(Why::Denied);
        match read {
            Ok(settings) => Settings {
                by_name: settings.into_iter().collect(),
                restricted,
                unread: None,
            },
            Err(unknown) => Settings {
                by_name: BTreeMap::new(),
                restricted,
                unread: Some(unknown),
            },
        }
    }

    /// A setting that every supported version has.
    pub fn get(&self, name: &str) -> Result<&Setting, Unknown> {
        let missing = || Why::Failed(format!("it has no setting {name}"));
        self.find(name)?
            .ok_or_else(|| Unknown::new(Source::Settings, missing()))
    }

    fn find(&self, name: &str) -> Result<Option<&Setting>, Unknown> {
        if let Some(unknown) = &self.unread {
            return Err(unknown.clone());
        }
        match (self.by_name.get(name), &self.restricted) {
            (Some(setting), _) if setting.origin == SettingOrigin::Session => {
                let why = format!("this session has a {name} of its own, which hides the server's");
                Err(Unknown::new(Source::Settings, Why::Failed(why)))
            }
            (Some(setting), _) => Ok(Some(setting)),
            (None, Some(why)) => Err(Unknown::new(Source::RestrictedSettings, why.clone())),
            (None, None) => Ok(None),
        }
    }

    /// The value as text.
    pub fn text(&self, name: &str) -> Result<&str, Unknown> {
        Ok(&self.get(name)?.value)
    }

    /// The value of a switch.
    pub fn flag(&self, name: &str) -> Result<bool, Unknown> {
        Ok(self.text(name)? == "on")
    }

    /// The value of a number, without regard to its unit.
    pub fn number(&self, name: &str) -> Result<i64, Unknown> {
        let value = self.text(name)?;
        let wrong = |_| {
            let why = format!("{name} is {value:?}, and a number is expected");
            Unknown::new(Source::Settings, Why::Failed(why))
        };
        value.parse().map_err(wrong)
    }

    /// The value of a size in bytes; none where it is −1, which stands for "no limit".
    pub fn bytes(&self, name: &str) -> Result<Option<u64>, Unknown> {
        let unit = match self.get(name)?.unit.as_str() {
            "B" => 1,
            "kB" => 1 << 10,
            "8kB" => 8 << 10,
            "MB" => 1 << 20,
            other => {
                let why = format!("{name} has the unit {other:?}, and a size is expected");
                return Err(Unknown::new(Source::Settings, Why::Failed(why)));
            }
        };
        let number = u64::try_from(self.number(name)?).ok();
        Ok(number.map(|number| number.saturating_mul(unit)))
    }

    /// The value of a time; none where it is −1, which stands for "no limit".
    pub fn span(&self, name: &str) -> Result<Option<Duration>, Unknown> {
        let unit = match self.get(name)?.unit.as_str() {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "min" => Duration::from_secs(60),
            other => {
                let why = format!("{name} has the unit {other:?}, and a time is expected");
                return Err(Unknown::new(Source::Settings, Why::Failed(why)));
            }
        };
        let number = u32::try_from(self.number(name)?).ok();
        Ok(number.map(|number| unit.saturating_mul(number)))
    }

    /// Those that wait for a restart.
    pub fn pending_restart(&self) -> Result<Vec<&str>, Unknown> {
        match &self.unread {
            Some(unknown) => Err(unknown.clone()),
            None => Ok(self
                .by_name
                .iter()
                .filter(|(_, setting)| setting.pending_restart)
                .map(|(name, _)| name.as_str())
                .collect()),
        }
    }
}

impl Setting {
    fn of(row: &Row) -> Setting {
        let file: Option<String> = row.get("sourcefile");
        let line: Option<i32> = row.get("sourceline");
        let origin = match row.get::<_, &str>("source") {
            "default" => SettingOrigin::Default,
            "configuration file" => match file {
                Some(path) => SettingOrigin::File {
                    path,
                    line: line.and_then(|line| line.try_into().ok()).unwrap_or(0),
                },
                None => SettingOrigin::HiddenFile,
            },
            "command line" | "environment variable" | "override" => SettingOrigin::CommandLine,
            // A database's, a role's, a client's or the session's own.
            _ => SettingOrigin::Session,
        };
        Setting {
            value: row.get::<_, Option<String>>("setting").unwrap_or_default(),
            unit: row.get("unit"),
            origin,
            needs_restart: row.get("needs_restart"),
            pending_restart: row.get("pending_restart"),
        }
    }
}
