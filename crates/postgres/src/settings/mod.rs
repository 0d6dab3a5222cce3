//! The settings that Manada manages: `manada.conf`, and how `postgresql.conf` includes it.

mod access;
mod identity;
mod include;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use access::{
    AccessBlock, AccessMethod, AccessRule, ConnectionType, DamagedBlock, Database, Origin, Roles,
    with_block,
};
pub use identity::IdentityBlock;
pub use include::{INCLUDE_LINE, with_include};

use crate::quote::{Unquotable, read_setting_value, setting_value};
use crate::replace_file::{FileOwner, ReplaceFileError, replace_file};

/// The file's name, beside `postgresql.conf`.
pub const FILE_NAME: &str = "manada.conf";

const HEADER: &str = "\
# Written by manada, whole, each time it changes a setting. Don't edit it: settings of your own
# belong into postgresql.conf, before the line that includes this file.
";

/// One setting and why it has this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The parameter's name.
    pub name: String,
    /// Its value, not quoted.
    pub value: String,
    /// One line that says why.
    pub reason: String,
}

impl Setting {
    /// A setting with its reason.
    pub fn new(
        name: impl Into<String>,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> Setting {
        Setting {
            name: name.into(),
            value: value.into(),
            reason: reason.into(),
        }
    }
}

/// The content of a `manada.conf`: settings in order, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagedSettings {
    settings: Vec<Setting>,
}

/// A setting can't be written, or the file is not one of ours.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value that PostgreSQL's configuration files can't hold.
    #[error("the setting {name} can't be written: {source}")]
    Unquotable {
        /// The parameter.
        name: String,
        /// Why not.
        source: Unquotable,
    },
    /// Somebody else's line.
    #[error(
        "{}, line {line}: not a line that manada wrote: settings of your own belong into postgresql.conf",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
    },
    /// The file can't be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The file can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
}

impl ManagedSettings {
    /// No settings yet.
    pub fn new() -> ManagedSettings {
        ManagedSettings::default()
    }

    /// The settings, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// The value of one setting, where it is there.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().find(|setting| setting.name == name);
        found.map(|setting| setting.value.as_str())
    }

    /// Adds a setting, or replaces the one of the same name where it stands.
    pub fn set(&mut self, setting: Setting) {
        match self
            .settings
            .iter_mut()
            .find(|present| present.name == setting.name)
        {
            Some(present) => *present = setting,
            None => self.settings.push(setting),
        }
    }

    /// Takes a setting out: PostgreSQL then uses what `postgresql.conf` says.
    pub fn remove(&mut self, name: &str) {
        self.settings.retain(|setting| setting.name != name);
    }

    /// The file's text.
    pub fn render(&self) -> Result<String, SettingsError> {
        let mut text = HEADER.to_owned();
        for Setting {
            name,
            value,
            reason,
        } in &self.settings
        {
            let quoted = setting_value(value).map_err(|source| SettingsError::Unquotable {
                name: name.clone(),
                source,
            })?;
            // A reason is one line, whatever went into it.
            let reason: String = reason
                .chars()
                .map(|character| {
                    if character.is_control() {
                        ' '
                    } else {
                        character
                    }
                })
                .collect();
            let _ = write!(text, "\n# {reason}\n{name} = {quoted}\n");
        }
        Ok(text)
    }

    /// Reads the file back; a missing one has no settings.
    pub fn read(path: &Path) -> Result<ManagedSettings, SettingsError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(SettingsError::Read {
                    path: path.to_path_buf(),
                    source,
                });
            }
        };
        parse(&text).map_err(|line| SettingsError::Foreign {
            path: path.to_path_buf(),
            line,
        })
    }

    /// Replaces the file, atomically and durably.
    pub fn write(&self, path: &Path, owner: FileOwner) -> Result<(), SettingsError> {
        Ok(replace_file(path, &self.render()?, owner)?)
    }
}

/// The settings of a text, or the number of the first line that is not ours.
fn parse(text: &str) -> Result<ManagedSettings, usize> {
    let mut settings = ManagedSettings::new();
    let mut reason = "";
    for (number, line) in (1_usize..).zip(text.lines()) {
        if let Some(comment) = line.strip_prefix('#') {
            reason = comment.trim();
        } else if !line.trim().is_empty() {
            let (name, value) = line
                .split_once(" = ")
                .and_then(|(name, value)| Some((name, read_setting_value(value)?)))
                .filter(|(name, _)| is_parameter_name(name))
                .ok_or(number)?;
            settings.set(Setting::new(name, value, reason));
        }
    }
    Ok(settings)
}

fn is_parameter_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    !name.is_empty() && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_file_says_why() {
        let mut settings = ManagedSettings::new();
        settings.set(Setting::new("port", "5432", "Where this node listens."));
        settings.set(Setting::new("cluster_name", "it's", "Two\nlines."));
        settings.set(Setting::new("port", "5433", "Where this node listens."));
        insta::assert_snapshot!(settings.render().expect("quotable"), @r"
        # Written by manada, whole, each time it changes a setting. Don't edit it: settings of your own
        # belong into postgresql.conf, before the line that includes this file.

        # Where this node listens.
        port = '5433'

        # Two lines.
        cluster_name = 'it''s'
        ");
    }

    #[test]
    fn a_foreign_line_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE_NAME);
        assert_eq!(
            ManagedSettings::read(&path).expect("none yet"),
            ManagedSettings::new()
        );
        fs::write(&path, "# x\n\nport = '1'\ninclude 'other.conf'\n").expect("written");
        assert!(matches!(
            ManagedSettings::read(&path),
            Err(SettingsError::Foreign { line: 4, .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(values in proptest::collection::vec("[^\0]{0,40}", 0..5)) {
            let mut settings = ManagedSettings::new();
            for (number, value) in values.into_iter().enumerate() {
                settings.set(Setting::new(format!("a.s{number}"), value, "Because."));
            }
            let text = settings.render().expect("quotable");
            prop_assert_eq!(parse(&text), Ok(settings));
        }
    }
}
