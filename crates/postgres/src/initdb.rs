//! Making a new data directory: complete and durable under its name, or not there at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use manada_model::MajorVersion;
use rustix::fs::{FlockOperation, Gid, Uid, fchown, flock};

use crate::Secret;
use crate::durable::{sync_directory, sync_tree};
use crate::os_user::{OsUser, OsUserError};
use crate::programs::ServerPrograms;

/// The longest name PostgreSQL gives a role, in bytes (`NAMEDATALEN - 1`).
const ROLE_NAME_BYTES_MAX: usize = 63;

/// The longest password taken, in bytes; it has to fit a pipe's buffer.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Locales by preference: with Unicode's character classes where the C library has them.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// What a new data directory is to be like. Beyond these: UTF-8, the same sort order on every
/// machine (`C.UTF-8`), data checksums, and SCRAM for whoever connects.
#[derive(Clone, Debug)]
pub struct NewCluster<'a> {
    /// Where; nothing may be there, or an empty directory.
    pub data_directory: &'a Path,
    /// The first superuser's name.
    pub superuser: &'a str,
    /// Their password.
    pub password: &'a Secret,
    /// Bytes in a WAL segment, where not PostgreSQL's own default of 16 MiB.
    pub wal_segment_megabytes: Option<u32>,
}

/// A data directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitdbError {
    /// Something is there already.
    #[error("{} is not empty: name a new directory, or move what is there aside", path.display())]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// The superuser's name can't be one.
    #[error(
        "{name:?} can't name a superuser: use 1 to {ROLE_NAME_BYTES_MAX} bytes without quotes, $, backslashes and control characters, not beginning with pg_"
    )]
    SuperuserName {
        /// The name.
        name: String,
    },
    /// The password can't be handed over.
    #[error(
        "the superuser's password must be 1 to {PASSWORD_BYTES_MAX} bytes without control characters"
    )]
    Password,
    /// Nobody suitable runs servers here.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// Something around the directory can't be done.
    #[error("can't {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is full.
    #[error("no room for {}: a new data directory needs about 100 MB there", path.display())]
    Full {
        /// The data directory.
        path: PathBuf,
    },
    /// The program failed.
    #[error("initdb for {} failed ({status}):\n{said}", path.display())]
    Failed {
        /// The data directory.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
}

/// Makes a data directory as `cluster` says, owned by who runs servers here, and tells who that
/// is. It takes about a second. Broken off at any moment it leaves nothing under the final name.
pub fn initdb(programs: &ServerPrograms, cluster: &NewCluster<'_>) -> Result<OsUser, InitdbError> {
    check_superuser(cluster.superuser)?;
    check_password(cluster.password)?;
    let data_directory = absolute(cluster.data_directory)?;
    check_empty(&data_directory)?;

    let user = OsUser::for_new_server()?;
    let staging = Staging::beside(&data_directory, &user)?;
    run(
        programs,
        cluster,
        &staging.directory,
        &data_directory,
        &user,
    )?;
    staging.finish(&data_directory)?;
    Ok(user)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InitdbError {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => InitdbError::Full { path },
        _ => InitdbError::Io {
            action,
            path,
            source,
        },
    }
}

fn check_superuser(name: &str) -> Result<(), InitdbError> {
    // `initdb` writes the name into SQL unquoted, and has it own an extension, whose script
    // refuses these.
    let refused = |letter: char| letter.is_control() || "\"$'\\".contains(letter);
    let usable = (1..=ROLE_NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(refused)
        && !name.starts_with("pg_");
    if usable {
        Ok(())
    } else {
        Err(InitdbError::SuperuserName {
            name: name.chars().take(80).collect(),
        })
    }
}

fn check_password(password: &Secret) -> Result<(), InitdbError> {
    let text = password.reveal();
    if (1..=PASSWORD_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(InitdbError::Password)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, InitdbError> {
    std::path::absolute(path).map_err(io_error("make an absolute path of", path))
}

fn check_empty(path: &Path) -> Result<(), InitdbError> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(InitdbError::NotEmpty {
                path: path.to_path_buf(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(InitdbError::NotEmpty {
            path: path.to_path_buf(),
        }),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// The directory in which `initdb` works: a sibling that gets the final name when all is
/// durable, or the final one itself where that is a mount point, which can't be renamed over.
struct Staging {
    directory: PathBuf,
    /// Held while the sibling is in use; what an interrupted run left behind is not held.
    lock: Option<File>,
}

impl Staging {
    fn beside(data_directory: &Path, user: &OsUser) -> Result<Staging, InitdbError> {
        if is_mount_point(data_directory) {
            user.own(data_directory)
                .map_err(io_error("change the owner of", data_directory))?;
            return Ok(Staging {
                directory: data_directory.to_path_buf(),
                lock: None,
            });
        }
        let prefix = staging_prefix(data_directory);
        remove_abandoned(data_directory, &prefix);
        let mut name = prefix;
        name.push(std::process::id().to_string());
        let directory = data_directory.with_file_name(name);
        user.create_private_directory(&directory)
            .map_err(io_error("create", &directory))?;
        let lock = File::open(&directory)
            .and_then(|lock| Ok(flock(&lock, FlockOperation::LockExclusive).map(|()| lock)?))
            .map_err(io_error("lock", &directory))?;
        Ok(Staging {
            directory,
            lock: Some(lock),
        })
    }

    fn finish(mut self, data_directory: &Path) -> Result<(), InitdbError> {
        sync_tree(&self.directory).map_err(io_error("sync", &self.directory))?;
        if self.lock.take().is_some() {
            fs::rename(&self.directory, data_directory)
                .map_err(io_error("put the finished directory at", data_directory))?;
            let parent = data_directory.parent().unwrap_or(Path::new("/"));
            sync_directory(parent).map_err(io_error("sync", parent))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Whatever went wrong is being reported; the next run clears what stays here.
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

fn staging_prefix(data_directory: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(data_directory.file_name().unwrap_or_default());
    prefix.push(".initdb-");
    prefix
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    match (device(path), path.parent().map(device)) {
        (Ok(own), Some(Ok(parent))) => own != parent,
        _ => false,
    }
}

/// Removes the work of runs that were killed: siblings of our naming that no process holds.
fn remove_abandoned(data_directory: &Path, prefix: &OsString) {
    let Some(Ok(siblings)) = data_directory.parent().map(fs::read_dir) else {
        return;
    };
    for sibling in siblings.filter_map(Result::ok) {
        let named_by_us = sibling
            .file_name()
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes())
            .is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit));
        if !named_by_us {
            continue;
        }
        let path = sibling.path();
        let abandoned = File::open(&path)
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        if abandoned {
            // Left in place it only takes room.
            fs::remove_dir_all(&path).ok();
        }
    }
}

fn run(
    programs: &ServerPrograms,
    cluster: &NewCluster<'_>,
    directory: &Path,
    data_directory: &Path,
    user: &OsUser,
) -> Result<(), InitdbError> {
    let program = programs.initdb();
    let mut failure = None;
    for locale in LOCALES {
        let mut command = user.command(&program);
        command
            .arg("--pgdata")
            .arg(directory)
            .arg(format!("--username={}", cluster.superuser))
            // The password never lies in a file: the program reads its standard input.
            .arg("--pwfile=/proc/self/fd/0")
            .stdin(Stdio::from(password_pipe(cluster.password, user).map_err(
                io_error("hand over the password for", data_directory),
            )?))
            .args([
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
            ])
            .arg(format!("--locale={locale}"))
            // We sync the tree ourselves, many files at once.
            .args(["--no-sync", "--no-instructions"]);
        match programs.major() {
            MajorVersion::V15 | MajorVersion::V16 => {}
            MajorVersion::V17 | MajorVersion::V18 => {
                command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
            }
        }
        if let Some(megabytes) = cluster.wal_segment_megabytes {
            command.arg(format!("--wal-segsize={megabytes}"));
        }
        let output = command.output().map_err(io_error("run", &program))?;
        if output.status.success() {
            return Ok(());
        }
        let said = last_lines(&String::from_utf8_lossy(&output.stderr));
        let try_next_locale = said.contains("invalid locale name");
        failure = Some(if said.contains("No space left on device") {
            InitdbError::Full {
                path: data_directory.to_path_buf(),
            }
        } else {
            InitdbError::Failed {
                path: data_directory.to_path_buf(),
                status: output.status,
                said,
            }
        });
        if !try_next_locale {
            break;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// A pipe with the password in it, readable by `user` through its path in `/proc`.
fn password_pipe(password: &Secret, user: &OsUser) -> io::Result<PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    fchown(
        &reader,
        Some(Uid::from_raw(user.uid())),
        Some(Gid::from_raw(user.gid())),
    )?;
    writer.write_all(password.reveal().as_bytes())?;
    writer.write_all(b"\n")?;
    Ok(reader)
}

/// The end of a program's output, without the statement that sets the password.
fn last_lines(said: &str) -> String {
    const LINES_MAX: usize = 12;
    let lines: Vec<&str> = said
        .trim()
        .lines()
        .filter(|line| !line.contains(" PASSWORD "))
        .collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_passwords_that_postgresql_would_not_take_are_refused() {
        let long = "x".repeat(64);
        for name in [
            "", "pg_x", "a\nb", "a\0", "a\"b", "a\\b", "a'b", "a$b", &long,
        ] {
            assert!(matches!(
                check_superuser(name),
                Err(InitdbError::SuperuserName { .. })
            ));
        }
        for password in ["", "a\nb", "a\0b", &"x".repeat(1025)] {
            assert!(matches!(
                check_password(&Secret::new(password)),
                Err(InitdbError::Password)
            ));
        }
    }

    #[test]
    fn a_statement_with_the_password_is_not_shown() {
        let said = "FATAL:  no\nSTATEMENT:  ALTER USER \"a\" WITH PASSWORD E'hunter2';\nchild process exited";
        assert_eq!(last_lines(said), "FATAL:  no\nchild process exited");
    }

    #[test]
    fn only_our_own_abandoned_work_is_removed() {
        let parent = tempfile::tempdir().expect("a directory");
        let data = parent.path().join("data");
        let names = [
            (".data.initdb-12", false),
            (".data.initdb-34", true),
            (".data.initdb-", true),
            (".data.initdb-1x", true),
            (".other.initdb-12", true),
            ("data.initdb-12", true),
        ];
        for (name, _) in names {
            fs::create_dir(parent.path().join(name)).expect("made");
        }
        let in_use = File::open(parent.path().join(".data.initdb-34")).expect("opened");
        flock(&in_use, FlockOperation::LockExclusive).expect("locked");
        remove_abandoned(&data, &staging_prefix(&data));
        for (name, stays) in names {
            assert_eq!(parent.path().join(name).exists(), stays, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_any_output_is_short(said in "(\\PC{0,10}\n){0,40}") {
            prop_assert!(last_lines(&said).lines().count() <= 12);
        }
    }
}
