//! A node's directory: where its parts lie, which homes this host has, and who works on one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcetera::{BaseStrategy as _, base_strategy::Xdg};
use manada_model::{HerdName, NodeName};
use manada_postgres::os_user::{OsUser, we_are_root};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

/// Where root's nodes live: a place that the servers' own user can reach.
const HOMES_OF_ROOT: &str = "/var/lib/manada";

/// The longest path of a Unix socket, in bytes (`sun_path` less its NUL), and the longest name of
/// a server's socket in it.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET_NAME_BYTES_MAX: usize = "/.s.PGSQL.65535.lock".len();

/// How long another command's work on a node is waited for.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// The directory of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

/// A home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no place for homes.
    #[error("can't tell where your data belongs: set HOME or XDG_DATA_HOME, or give --home")]
    NoPlace,
    /// A file or directory of it.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The server's user can't get there.
    #[error(
        "{} can't be reached by {user}, who runs the server: open the directories above it (chmod o+x), or choose another with --home",
        path.display()
    )]
    OutOfReach {
        /// The home.
        path: PathBuf,
        /// The user.
        user: String,
    },
    /// The server's user can't write there.
    #[error(
        "{user}, who runs the server, can't write into {0}: give it to them (chown {user} {0})",
        path.display()
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The user.
        user: String,
    },
    /// Somebody else is at it.
    #[error(
        "another manada command has been working on {} for more than {} s",
        path.display(),
        LOCK_WITHIN.as_secs()
    )]
    Busy {
        /// The home.
        path: PathBuf,
    },
}

impl HomeError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
        let path = path.to_path_buf();
        move |source| HomeError::Io {
            action,
            path,
            source,
        }
    }
}

impl Home {
    /// A home of one's own choice.
    pub fn at(path: &Path) -> Result<Home, HomeError> {
        let path = std::path::absolute(path).map_err(HomeError::io("find", path))?;
        Ok(Home { path })
    }

    /// Where this user's node of this name belongs.
    pub fn of(herd: &HerdName, node: &NodeName) -> Result<Home, HomeError> {
        let path = place()?.join(herd.as_str()).join(node.as_str());
        Ok(Home { path })
    }

    /// Where the homes of root's nodes are.
    pub fn of_root() -> &'static Path {
        Path::new(HOMES_OF_ROOT)
    }

    /// All homes of this user on this host that hold a finished node, in the order of their paths.
    /// One below a directory that can't be a herd's name is none: it was moved out of the way.
    pub fn discover() -> Result<Vec<Home>, HomeError> {
        Home::below(&place()?)
    }

    fn below(place: &Path) -> Result<Vec<Home>, HomeError> {
        let is_of_a_herd = |path: &&PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.parse::<HerdName>().is_ok())
        };
        let mut homes: Vec<Home> = entries(place)?
            .iter()
            .filter(is_of_a_herd)
            .map(|herd| entries(herd))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .map(|path| Home { path })
            .filter(|home| home.node_file().exists())
            .collect();
        homes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(homes)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What this node is: `manada.toml`.
    pub fn node_file(&self) -> PathBuf {
        self.path.join("manada.toml")
    }

    /// The data directory of a server that Manada made.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The authority's certificate.
    pub fn ca_certificate(&self) -> PathBuf {
        self.path.join("tls/ca.crt")
    }

    /// The authority's private key: on every node, since any of them may come to admit others.
    pub fn ca_key(&self) -> PathBuf {
        self.path.join("tls/ca.key")
    }

    /// This server's certificate, followed by the authority's.
    pub fn server_certificate(&self) -> PathBuf {
        self.path.join("tls/server.crt")
    }

    /// This server's private key.
    pub fn server_key(&self) -> PathBuf {
        self.path.join("tls/server.key")
    }

    /// The passwords by which nodes know each other, in the format of `.pgpass`.
    pub fn passfile(&self) -> PathBuf {
        self.path.join("passfile")
    }

    /// What the server says.
    pub fn log_file(&self) -> PathBuf {
        self.path.join("log/postgresql.log")
    }

    /// Is there while a server that an agent protects may archive: `wal push --home` refuses without.
    pub fn archiving_mark(&self) -> PathBuf {
        self.path.join("archiving")
    }

    /// The herd's members as this host's agent knows them.
    pub fn members_file(&self) -> PathBuf {
        self.path.join("members.json")
    }

    /// Is there while the data directory is being brought back into the leader's history.
    pub fn rejoin_mark(&self) -> PathBuf {
        self.path.join("rejoin.json")
    }

    /// Where WAL is kept that was not part of the herd's history.
    pub fn divergent_directory(&self) -> PathBuf {
        self.path.join("divergent")
    }

    /// Says that a command began to make this node and has not finished: what lies here is its
    /// own work.
    pub(crate) fn unfinished_mark(&self) -> PathBuf {
        self.path.join("unfinished")
    }

    /// Where the answer to an admission waits for the server to read it.
    pub(crate) fn admission_answer(&self) -> PathBuf {
        self.path.join("admission.json")
    }

    /// The directory of the server's Unix socket: `run` in here, or, where that makes the socket's
    /// path longer than the kernel takes, a short one of this home's own in `/tmp`.
    pub fn socket_directory(&self) -> PathBuf {
        let here = self.path.join("run");
        if here.as_os_str().len() + SOCKET_NAME_BYTES_MAX <= SOCKET_PATH_BYTES_MAX {
            return here;
        }
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        let short: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        PathBuf::from(format!("/tmp/manada-{short}"))
    }

    /// Makes the directories, all of them `user`'s, where they are missing, and proves that the
    /// user reaches them. Others may pass through to the authority's certificate, which clients
    /// need, and see nothing else.
    pub fn create(&self, user: &OsUser) -> Result<(), HomeError> {
        let passable = [self.path.clone(), self.path.join("tls")].map(|path| (path, true));
        let private = [self.path.join("log"), self.socket_directory()].map(|path| (path, false));
        for (directory, others_pass) in passable.into_iter().chain(private) {
            let created = if others_pass {
                user.create_passable_directory(&directory)
            } else {
                user.create_private_directory(&directory)
            };
            match created {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    prove_owner(&directory, user)?;
                }
                Err(source) => return Err(HomeError::io("create", &directory)(source)),
            }
        }
        self.prove_reachable(user)
    }

    fn prove_reachable(&self, user: &OsUser) -> Result<(), HomeError> {
        if !we_are_root() {
            return Ok(());
        }
        let reached = user
            .command("/bin/sh")
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(&self.path)
            .stderr(std::process::Stdio::null())
            .status()
            .map_err(HomeError::io("look into", &self.path))?;
        if reached.success() {
            Ok(())
        } else {
            Err(HomeError::OutOfReach {
                path: self.path.clone(),
                user: user.name().to_owned(),
            })
        }
    }

    /// Keeps other commands from changing this node's files until the lock is dropped. Waits for
    /// another command's work, within a bound. This blocks.
    pub fn lock(&self, user: &OsUser) -> Result<HomeLock, HomeError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .and_then(|file| user.own(&path).map(|()| file))
            .map_err(HomeError::io("lock", &path))?;
        let deadline = Instant::now() + LOCK_WITHIN;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(HomeLock { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(HomeError::Busy {
                        path: self.path.clone(),
                    });
                }
                Err(errno) => return Err(HomeError::io("lock", &path)(errno.into())),
            }
        }
    }
}

/// Proves that the server's user can write into a directory: what the server archives goes there.
pub(crate) fn prove_writable(directory: &Path, user: &OsUser) -> Result<(), HomeError> {
    let writable = user
        .command("/bin/sh")
        .args(["-c", "test -w \"$1\" && test -x \"$1\"", "sh"])
        .arg(directory)
        .status()
        .map_err(HomeError::io("look into", directory))?;
    if writable.success() {
        Ok(())
    } else {
        Err(HomeError::NotWritable {
            path: directory.to_path_buf(),
            user: user.name().to_owned(),
        })
    }
}

/// Held while a command changes a node's files; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

fn place() -> Result<PathBuf, HomeError> {
    if we_are_root() {
        return Ok(PathBuf::from(HOMES_OF_ROOT));
    }
    let strategy = Xdg::new().map_err(|_| HomeError::NoPlace)?;
    Ok(strategy.data_dir().join("manada"))
}

/// The directories in a directory; none where it is missing.
fn entries(path: &Path) -> Result<Vec<PathBuf>, HomeError> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(HomeError::io("read", path)(source)),
    }
}

/// A directory that was there before must be the server user's: in `/tmp` somebody else could have
/// made it.
fn prove_owner(directory: &Path, user: &OsUser) -> Result<(), HomeError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::symlink_metadata(directory).map_err(HomeError::io("look at", directory))?;
    if metadata.is_dir() && metadata.uid() == user.uid() {
        Ok(())
    } else {
        Err(HomeError::Io {
            action: "use",
            path: directory.to_path_buf(),
            source: io::Error::other(format!("it is not a directory of {}", user.name())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_home_has_its_socket_elsewhere() {
        let short = Home::at(Path::new("/srv/h")).expect("absolute");
        assert_eq!(short.socket_directory(), Path::new("/srv/h/run"));
        let long = Home::at(&Path::new("/").join("d".repeat(90))).expect("absolute");
        let socket = long.socket_directory();
        assert!(socket.starts_with("/tmp"), "{}", socket.display());
        assert_eq!(socket, long.socket_directory());
    }

    #[test]
    fn a_lab_that_was_moved_out_of_the_way_holds_no_nodes() {
        let place = tempfile::tempdir().expect("a directory");
        for home in ["lab/n1", "lab.kept-20260101T000000Z/n1"] {
            let home = place.path().join(home);
            fs::create_dir_all(&home).expect("made");
            fs::write(home.join("manada.toml"), "").expect("written");
        }
        let homes = Home::below(place.path()).expect("readable");
        assert_eq!(homes.len(), 1);
        assert!(homes[0].path().ends_with("lab/n1"));
    }

    #[test]
    fn a_home_is_made_once_and_locked_by_one() {
        let user = OsUser::for_new_server().expect("somebody runs servers");
        let parent = tempfile::tempdir().expect("a directory");
        let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(parent.path(), open).expect("opened");
        let home = Home::at(&parent.path().join("a b/node")).expect("absolute");
        home.create(&user).expect("made");
        home.create(&user).expect("there already");
        let held = home.lock(&user).expect("free");
        let file = File::open(home.path().join("lock")).expect("there");
        assert!(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(held);
        assert!(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
    }

    #[test]
    fn a_home_behind_a_closed_door_is_refused() {
        if !we_are_root() {
            return;
        }
        let user = OsUser::for_new_server().expect("somebody runs servers");
        let closed = tempfile::tempdir().expect("a directory");
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
        fs::set_permissions(closed.path(), mode).expect("closed");
        let home = Home::at(&closed.path().join("node")).expect("absolute");
        let created = home.create(&user);
        assert!(
            matches!(created, Err(HomeError::OutOfReach { .. })),
            "{created:?}"
        );
    }
}
