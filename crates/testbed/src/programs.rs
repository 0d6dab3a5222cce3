//! Where the real servers of each version come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use manada_model::MajorVersion;
use manada_postgres::os_user::OsUser;
use manada_postgres::programs::{Cache, ServerPrograms, Wanted, find, obtain};

use crate::template;

/// How long a failed fetch is remembered, so that a run of all test programs tries once.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// What a test needs and this machine has not. A test that returns it is counted as ignored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Missing {
    what: String,
}

impl Missing {
    /// Names what is missing, and how to get it.
    pub fn new(what: impl Into<String>) -> Self {
        Missing { what: what.into() }
    }
}

/// The server programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    version: MajorVersion,
    bin: PathBuf,
}

impl Programs {
    /// Those of `version`: installed on this machine, or fetched as `manada` itself would.
    pub fn find(version: MajorVersion) -> Result<Programs, Missing> {
        static FOUND: Mutex<BTreeMap<MajorVersion, Result<Programs, Missing>>> =
            Mutex::new(BTreeMap::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        found
            .entry(version)
            .or_insert_with(|| find_or_fetch(version))
            .clone()
    }

    /// Those of the oldest version this machine has, for tests to which the version is nothing.
    pub fn any() -> Result<Programs, Missing> {
        MajorVersion::ALL
            .into_iter()
            .find_map(|version| Programs::find(version).ok())
            .ok_or_else(|| Missing::new("no PostgreSQL server of 15 to 18"))
    }

    /// Their version.
    pub fn version(&self) -> MajorVersion {
        self.version
    }

    /// The directory they are in.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// As the product knows them.
    pub fn as_server_programs(&self) -> ServerPrograms {
        let user = OsUser::for_new_server().expect("somebody runs servers");
        let cache = Cache::of_this_user().expect("a cache");
        let found = find(&Wanted::Directory(self.bin.clone()), &user, &cache);
        let found = found.expect("they run");
        found.programs.expect("they are there")
    }

    /// One of them.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

fn find_or_fetch(version: MajorVersion) -> Result<Programs, Missing> {
    let note = template::directory()
        .map_err(|error| missing(&error))?
        .join(format!("no-{version}"));
    if let Some(reason) = lately(&note) {
        return Err(Missing::new(reason));
    }
    let user = OsUser::for_new_server().map_err(|error| missing(&error))?;
    let cache = Cache::of_this_user().map_err(|error| missing(&error))?;
    match obtain(&Wanted::Major(version), &user, &cache, &mut |_| {}) {
        Ok(programs) => Ok(Programs {
            version,
            bin: programs.bin_dir().to_path_buf(),
        }),
        Err(error) => {
            let missing = missing(&error);
            // Without the note, the next test program tries in vain too: slower, not wrong.
            fs::write(&note, &missing.what).ok();
            Err(missing)
        }
    }
}

fn missing(reason: &dyn std::error::Error) -> Missing {
    Missing::new(reason.to_string())
}

/// What another test program has noted, if it was a moment ago.
fn lately(note: &Path) -> Option<String> {
    let written = fs::metadata(note).and_then(|metadata| metadata.modified());
    let age = written.ok()?.elapsed().ok()?;
    (age < FAILURE_REMEMBERED).then(|| fs::read_to_string(note).ok())?
}
