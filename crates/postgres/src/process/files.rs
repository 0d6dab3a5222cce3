//! Where a server's configuration is: in its data directory, or, as Debian has it, elsewhere.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::command_line::CommandLine;
use super::running::{RunningError, running};
use crate::os_user::{OsUser, OsUserError};
use crate::programs::ServerPrograms;

/// Where Debian keeps the configuration of its clusters: `VERSION/NAME/postgresql.conf` below.
const DEBIAN_CONFIGURATION: &str = "/etc/postgresql";

/// A server's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The data directory.
    pub data_directory: PathBuf,
    /// `postgresql.conf`.
    pub config_file: PathBuf,
    /// `pg_hba.conf`.
    pub hba_file: PathBuf,
    /// The command line of the server, or of its last start; `None` if it was never started.
    pub command_line: Option<CommandLine>,
}

/// A server's files can't be told.
#[derive(Debug, thiserror::Error)]
pub enum ServerFilesError {
    /// It can't be told whether it runs.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// Nobody suitable can ask for it.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The note of its last start can't be read.
    #[error("can't tell how the server on {} was started", data_directory.display())]
    CommandLine {
        /// The data directory.
        data_directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It has no configuration file where one would be.
    #[error(
        "the server on {} has no postgresql.conf, there or below {DEBIAN_CONFIGURATION}",
        data_directory.display()
    )]
    NoConfiguration {
        /// The data directory.
        data_directory: PathBuf,
    },
    /// The server program could not read its configuration.
    #[error("the configuration of the server on {} can't be read: {said}", data_directory.display())]
    Configuration {
        /// The data directory.
        data_directory: PathBuf,
        /// What the program said.
        said: String,
    },
    /// The configuration is another directory's.
    #[error(
        "the configuration {} is that of {}, not of {}",
        config_file.display(),
        its_directory.display(),
        data_directory.display()
    )]
    OtherDirectory {
        /// The configuration.
        config_file: PathBuf,
        /// The data directory that it names.
        its_directory: PathBuf,
        /// The one that was asked about.
        data_directory: PathBuf,
    },
}

/// Finds the configuration of the server on `data_directory`, running or not, with programs of
/// its version: the server program itself says where it would look.
pub fn server_files(
    programs: &ServerPrograms,
    data_directory: &Path,
) -> Result<ServerFiles, ServerFilesError> {
    let user = OsUser::of_data_directory(data_directory)?;
    let data_directory = data_directory
        .canonicalize()
        .map_err(|source| RunningError::Read {
            path: data_directory.to_path_buf(),
            source,
        })?;
    let command_line_error = |source| ServerFilesError::CommandLine {
        data_directory: data_directory.clone(),
        source,
    };
    let command_line = match running(&data_directory)? {
        Some(server) => CommandLine::of(&server).map_err(command_line_error)?,
        None => CommandLine::noted(&data_directory).map_err(command_line_error)?,
    };
    let arguments = match &command_line {
        Some(line) => line.arguments_for(&data_directory),
        None => arguments_of_first_start(&data_directory)?,
    };
    let ask = |setting: &str| -> Result<PathBuf, ServerFilesError> {
        let configuration = |said: String| ServerFilesError::Configuration {
            data_directory: data_directory.clone(),
            said,
        };
        let output = user
            .command(programs.postgres())
            // First, which keeps the program from looking at who runs it.
            .args(["-C", setting])
            .args(&arguments)
            .output()
            .map_err(|error| configuration(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(configuration(said.trim().to_owned()));
        }
        let mut value = output.stdout;
        while value.last() == Some(&b'\n') {
            value.pop();
        }
        let path = PathBuf::from(OsString::from_vec(value));
        Ok(data_directory.join(path))
    };
    let config_file = ask("config_file")?;
    let its_directory = ask("data_directory")?;
    if its_directory.canonicalize().ok().as_ref() != Some(&data_directory) {
        return Err(ServerFilesError::OtherDirectory {
            config_file,
            its_directory,
            data_directory,
        });
    }
    Ok(ServerFiles {
        hba_file: ask("hba_file")?,
        data_directory,
        config_file,
        command_line,
    })
}

/// How a server that was never started would be: with the configuration beside its data, else
/// with the one of Debian's clusters that names this directory.
fn arguments_of_first_start(data_directory: &Path) -> Result<Vec<OsString>, ServerFilesError> {
    let own = data_directory.join("postgresql.conf");
    if own.exists() {
        return Ok(vec!["-D".into(), data_directory.into()]);
    }
    let config_file = debian_configurations()
        .into_iter()
        .find(|file| {
            fs::read_to_string(file).is_ok_and(|text| {
                configured_directory(&text).is_some_and(|path| {
                    path.canonicalize().is_ok_and(|path| path == data_directory)
                })
            })
        })
        .ok_or_else(|| ServerFilesError::NoConfiguration {
            data_directory: data_directory.to_path_buf(),
        })?;
    let mut setting = OsString::from("config_file=");
    setting.push(config_file);
    Ok(vec![
        "-D".into(),
        data_directory.into(),
        "-c".into(),
        setting,
    ])
}

fn debian_configurations() -> Vec<PathBuf> {
    let below = |directory: PathBuf| {
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path())
    };
    below(DEBIAN_CONFIGURATION.into())
        .flat_map(below)
        .map(|cluster| cluster.join("postgresql.conf"))
        .filter(|file| file.exists())
        .collect()
}

/// The value of `data_directory` in a configuration file as Debian's tools write it.
fn configured_directory(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("data_directory")?;
        let rest = rest.trim_start();
        let quoted = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        let (value, _) = quoted.strip_prefix('\'')?.split_once('\'')?;
        Some(PathBuf::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_directory_debian_configures_is_read() {
        let text =
            "# data_directory = 'no'\n data_directory = '/var/lib/postgresql/15/main'\t# x\n";
        assert_eq!(
            configured_directory(text),
            Some("/var/lib/postgresql/15/main".into())
        );
        assert_eq!(configured_directory("data_directory\n"), None);
    }

    proptest! {
        #[test]
        fn any_configuration_is_survived(text in "(data_directory ?=? ?'?)?\\PC{0,30}\n\\PC{0,9}") {
            configured_directory(&text);
        }
    }
}
