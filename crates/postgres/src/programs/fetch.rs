//! Fetching a pinned server build into the cache: checked, unpacked, tried, then named.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use manada_model::MajorVersion;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::artefacts::{Artefact, Machine};
use super::cache::{Cache, CacheError};
use super::download::{self, DownloadError, download};
use super::find::DEFAULT_FETCHED;
use super::inspect::{Refused, inspect};
use super::system_package::SystemPackage;
use super::unpack::{UnpackError, unpack};
use super::{Origin, ServerPrograms};
use crate::durable::{sync_directory, sync_tree};
use crate::os_user::{OsUser, we_are_root};

/// How long another process is waited for that is fetching into the same cache.
const OTHER_FETCH_WITHIN: Duration = Duration::from_secs(30 * 60);

/// Between two tries to get the cache's lock.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// What a fetch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// Another process is fetching into the same cache.
    WaitingForAnother,
    /// Downloading.
    Downloading {
        /// What.
        artefact: Artefact,
        /// Bytes so far; the whole is `artefact.bytes`.
        bytes_done: u64,
    },
    /// Checked, and being unpacked.
    Unpacking {
        /// What.
        artefact: Artefact,
    },
}

/// Why one artefact could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// It did not come.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// It could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// It does not run here.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// No server build could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Another process has been fetching for too long.
    #[error(
        "another process has held {} for {} minutes: end it and try again",
        lock.display(),
        OTHER_FETCH_WITHIN.as_secs() / 60
    )]
    Busy {
        /// The lock's file.
        lock: PathBuf,
    },
    /// There is no build for this kind of machine.
    #[error("no PostgreSQL {major} is kept for {machine}: {remedy}")]
    NoBuild {
        /// The version that was asked for.
        major: MajorVersion,
        /// The operating system and processor.
        machine: String,
        /// What to install instead.
        remedy: SystemPackage,
    },
    /// All that could be tried failed.
    #[error("PostgreSQL {major} could not be fetched: {remedy}{}", list(attempts))]
    Failed {
        /// The version that was asked for.
        major: MajorVersion,
        /// What to install instead.
        remedy: SystemPackage,
        /// What was tried and why it failed.
        attempts: Vec<AttemptError>,
    },
}

fn list(attempts: &[AttemptError]) -> String {
    attempts
        .iter()
        .map(|attempt| format!("\n  - {attempt}"))
        .collect()
}

/// Fetches PostgreSQL `major` (without one, the default) into the cache, for `user` to run, with
/// the package clients found in `search_path`. Nothing else on the machine is changed.
pub fn fetch(
    major: Option<MajorVersion>,
    user: &OsUser,
    cache: &Cache,
    search_path: &OsStr,
    progress: &mut dyn FnMut(FetchStep),
) -> Result<ServerPrograms, FetchError> {
    let major = major.unwrap_or(DEFAULT_FETCHED);
    let remedy = || SystemPackage::of_this_machine(major);
    let machine = Machine::ours().ok_or_else(|| FetchError::NoBuild {
        major,
        machine: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
        remedy: remedy(),
    })?;
    create_cache(cache)?;
    let _lock = lock(cache, progress)?;
    remove_abandoned(cache.directory());

    let mut attempts = Vec::new();
    for artefact in Artefact::of(major, machine) {
        match attempt(&artefact, user, cache, search_path, progress) {
            Ok(programs) => return Ok(programs),
            Err(AttemptFailure::OfCache(error)) => return Err(error.into()),
            Err(AttemptFailure::OfArtefact(error)) => attempts.push(error),
        }
    }
    Err(FetchError::Failed {
        major,
        remedy: remedy(),
        attempts,
    })
}

/// What ends one attempt, and what ends them all.
enum AttemptFailure {
    OfArtefact(AttemptError),
    OfCache(CacheError),
}

impl<E: Into<AttemptError>> From<E> for AttemptFailure {
    fn from(error: E) -> AttemptFailure {
        AttemptFailure::OfArtefact(error.into())
    }
}

fn attempt(
    artefact: &Artefact,
    user: &OsUser,
    cache: &Cache,
    search_path: &OsStr,
    progress: &mut dyn FnMut(FetchStep),
) -> Result<ServerPrograms, AttemptFailure> {
    let home = cache.directory().join(artefact.directory_name());
    if home.exists() {
        // Somebody else was faster.
        return Ok(inspect(&home.join("bin"), user, Origin::Fetched)?);
    }
    let of_cache = |source| AttemptFailure::OfCache(cache.error(source));
    let staging = tempfile::Builder::new()
        .prefix(STAGING_PREFIX)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(cache.directory())
        .map_err(of_cache)?;
    // Whatever our umask: the servers' user tries the programs here.
    fs::set_permissions(staging.path(), Permissions::from_mode(0o755)).map_err(of_cache)?;
    fs::create_dir(staging.path().join(download::DELIVERY)).map_err(of_cache)?;

    let file = download(artefact, staging.path(), search_path, &mut |bytes_done| {
        progress(FetchStep::Downloading {
            artefact: *artefact,
            bytes_done,
        });
    })
    .map_err(|error| cache_or(error, cache))?;
    progress(FetchStep::Unpacking {
        artefact: *artefact,
    });
    let tree = staging.path().join("tree");
    match unpack(artefact, &file, &tree) {
        Ok(()) => {}
        Err(UnpackError::Io { source, .. }) if cache.is_at_fault(&source) => {
            return Err(of_cache(source));
        }
        Err(error) => return Err(error.into()),
    }
    inspect(&tree.join("bin"), user, Origin::Fetched)?;
    sync_tree(&tree).map_err(of_cache)?;
    fs::rename(&tree, &home).map_err(of_cache)?;
    sync_directory(cache.directory()).map_err(of_cache)?;
    Ok(inspect(&home.join("bin"), user, Origin::Fetched)?)
}

/// A client that failed because the disk is full says so in its own words.
fn cache_or(error: DownloadError, cache: &Cache) -> AttemptFailure {
    match error {
        DownloadError::Client { said, .. }
            if said.contains("No space left on device") || said.contains("ENOSPC") =>
        {
            AttemptFailure::OfCache(cache.error(Errno::NOSPC.into()))
        }
        DownloadError::Io { source, .. } if cache.is_at_fault(&source) => {
            AttemptFailure::OfCache(cache.error(source))
        }
        other => other.into(),
    }
}

fn create_cache(cache: &Cache) -> Result<(), CacheError> {
    let directory = cache.directory();
    let existed = directory.exists();
    fs::create_dir_all(directory).map_err(|source| cache.error(source))?;
    if !existed && we_are_root() {
        fs::set_permissions(directory, Permissions::from_mode(0o755))
            .map_err(|source| cache.error(source))?;
    }
    Ok(())
}

/// Held while we write to the cache; let go by the kernel when we end, however we end.
fn lock(cache: &Cache, progress: &mut dyn FnMut(FetchStep)) -> Result<File, FetchError> {
    let path = cache.directory().join(".lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|source| cache.error(source))?;
    let deadline = Instant::now() + OTHER_FETCH_WITHIN;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() >= deadline => {
                return Err(FetchError::Busy { lock: path });
            }
            Err(Errno::WOULDBLOCK) => {
                progress(FetchStep::WaitingForAnother);
                thread::sleep(BETWEEN_TRIES);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(cache.error(io::Error::from(errno)).into()),
        }
    }
}

const STAGING_PREFIX: &str = ".fetching-";

/// Removes what fetches that were killed left behind. We hold the lock: nobody uses it.
fn remove_abandoned(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(STAGING_PREFIX.as_bytes())
        {
            // Left in place it only takes room.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
