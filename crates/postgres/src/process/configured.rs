//! What settings a server would start with, asked of the server program itself.

use std::io;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::os_user::{OsUser, OsUserError};

/// What a server would start with can't be told.
#[derive(Debug, thiserror::Error)]
pub enum ConfiguredError {
    /// Nobody suitable can ask for it.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The program can't be run.
    #[error("can't ask the server program for {setting}: {source}")]
    Run {
        /// The parameter.
        setting: String,
        /// What the system said.
        source: io::Error,
    },
    /// It refuses its configuration.
    #[error("the server program does not say what {setting} is: {said}")]
    Refused {
        /// The parameter.
        setting: String,
        /// What the program said.
        said: String,
    },
}

/// The values of some settings, in their order, that the server on `data_directory` would start
/// with: all its files count. The server does not run. Blocks for some 10 ms.
pub fn configured(
    postgres: &Path,
    data_directory: &Path,
    config_file: &Path,
    settings: &[&str],
) -> Result<Vec<String>, ConfiguredError> {
    let user = OsUser::of_data_directory(data_directory)?;
    let asked: Vec<(&str, io::Result<Child>)> = settings
        .iter()
        .map(|setting| {
            let child = user
                .command(postgres)
                // First, which keeps the program from looking at who runs it.
                .args(["-C", setting, "-D"])
                .arg(data_directory)
                .arg("-c")
                .arg(format!("config_file={}", config_file.display()))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            (*setting, child)
        })
        .collect();
    // All of them are reaped, also behind one that failed.
    let answers: Vec<_> = asked
        .into_iter()
        .map(|(setting, child)| answer(setting, child))
        .collect();
    answers.into_iter().collect()
}

fn answer(setting: &str, child: io::Result<Child>) -> Result<String, ConfiguredError> {
    let output =
        child
            .and_then(Child::wait_with_output)
            .map_err(|source| ConfiguredError::Run {
                setting: setting.to_owned(),
                source,
            })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(ConfiguredError::Refused {
        setting: setting.to_owned(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
