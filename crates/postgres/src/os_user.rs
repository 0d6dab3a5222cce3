//! Who runs a server: oneself, or, as root, somebody else; root never does.

use std::ffi::{CString, OsStr};
use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use nix::unistd::{Gid, Uid, User, getgrouplist};

use crate::child::{self, Identity, Lifetime};

/// Who runs new servers where root asks for one and this user exists.
const SERVER_USER: &str = "postgres";

/// Who runs them where it does not.
const FALLBACK_USER: &str = "nobody";

/// The operating system's user that runs a server and owns what the server writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsUser {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
    /// The groups to take on with the user; `None` where we are that user already.
    groups_to_take: Option<Vec<u32>>,
}

/// Nobody suitable can run the server.
#[derive(Debug, thiserror::Error)]
pub enum OsUserError {
    /// The user database has no entry.
    #[error("this machine's user database has no user {who}")]
    Unknown {
        /// A name or a number.
        who: String,
    },
    /// The user database did not answer.
    #[error("can't look up user {who} in this machine's user database")]
    Lookup {
        /// A name or a number.
        who: String,
        /// What the system said.
        source: io::Error,
    },
    /// A data directory owned by root.
    #[error(
        "{} belongs to root, and PostgreSQL refuses to run as root: give it to the user who shall run the server (chown -R postgres {0})",
        path.display()
    )]
    RootOwnsData {
        /// The data directory.
        path: PathBuf,
    },
    /// An ordinary user can't run somebody else's server.
    #[error("{} belongs to {owner}, you are {we}: run this as {owner} or as root", path.display())]
    SomebodyElses {
        /// The data directory.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asks.
        we: String,
    },
    /// The directory can't be looked at.
    #[error("can't look at {}", path.display())]
    Inspect {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OsUser {
    /// Who runs a server that is yet to be made: oneself, or as root `postgres`, else `nobody`.
    pub fn for_new_server() -> Result<OsUser, OsUserError> {
        if !we_are_root() {
            return OsUser::ourselves();
        }
        let user = match lookup_name(SERVER_USER)? {
            Some(user) => user,
            None => lookup_name(FALLBACK_USER)?.ok_or_else(|| OsUserError::Unknown {
                who: format!("{SERVER_USER} or {FALLBACK_USER}"),
            })?,
        };
        OsUser::to_become(user)
    }

    /// Who runs the server of an existing data directory: its owner, as PostgreSQL demands.
    pub fn of_data_directory(data_directory: &Path) -> Result<OsUser, OsUserError> {
        let path = data_directory.to_path_buf();
        let owner = match fs::metadata(&path) {
            Ok(metadata) => metadata.uid(),
            Err(source) => return Err(OsUserError::Inspect { path, source }),
        };
        if owner == 0 {
            return Err(OsUserError::RootOwnsData { path });
        }
        if !we_are_root() {
            let ourselves = OsUser::ourselves()?;
            if ourselves.uid == owner {
                return Ok(ourselves);
            }
            let owner = lookup_uid(owner)?.map_or_else(|| owner.to_string(), |user| user.name);
            let we = ourselves.name;
            return Err(OsUserError::SomebodyElses { path, owner, we });
        }
        let user = lookup_uid(owner)?.ok_or_else(|| OsUserError::Unknown {
            who: owner.to_string(),
        })?;
        OsUser::to_become(user)
    }

    fn ourselves() -> Result<OsUser, OsUserError> {
        let uid = Uid::effective().as_raw();
        // Containers run programs under numbers that no user database knows.
        let (name, home) = match lookup_uid(uid)? {
            Some(user) => (user.name, user.dir),
            None => (uid.to_string(), PathBuf::from("/")),
        };
        Ok(OsUser {
            name,
            uid,
            gid: Gid::effective().as_raw(),
            home,
            groups_to_take: None,
        })
    }

    fn to_become(user: User) -> Result<OsUser, OsUserError> {
        let unknown = || OsUserError::Unknown {
            who: user.name.clone(),
        };
        let name = CString::new(user.name.as_str()).map_err(|_| unknown())?;
        let groups = getgrouplist(&name, user.gid).map_err(|errno| OsUserError::Lookup {
            who: user.name.clone(),
            source: errno.into(),
        })?;
        Ok(OsUser {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir,
            name: user.name,
            groups_to_take: Some(groups.into_iter().map(Gid::as_raw).collect()),
        })
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The user's own group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// A program to be run as this user: no input, a neutral working directory, messages in
    /// English, and none of libpq's or the server's environment variables. It ends with us.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_living(program, Lifetime::EndsWithUs)
    }

    pub(crate) fn command_living(&self, program: impl AsRef<OsStr>, life: Lifetime) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("HOME", &self.home)
            .env("USER", &self.name)
            .env("LOGNAME", &self.name)
            .current_dir("/")
            .stdin(std::process::Stdio::null());
        let become_user = self.groups_to_take.clone().map(|groups| Identity {
            uid: self.uid,
            gid: self.gid,
            groups,
        });
        child::prepare(&mut command, become_user, life);
        command
    }

    /// Makes `path` this user's. Nothing to do where we are that user.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        match self.groups_to_take {
            Some(_) => std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)),
            None => Ok(()),
        }
    }

    /// Makes a directory that belongs to this user and only they can enter (0700). Parents that
    /// are missing are made too, enterable by everybody so that this user reaches it.
    pub fn create_private_directory(&self, path: &Path) -> io::Result<()> {
        self.create_directory(path, 0o700)
    }

    /// The same, where others may pass through to what they know the name of (0711).
    pub fn create_passable_directory(&self, path: &Path) -> io::Result<()> {
        self.create_directory(path, 0o711)
    }

    fn create_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|ancestor| !ancestor.exists())
            .collect();
        for ancestor in missing.into_iter().rev() {
            fs::create_dir(ancestor)?;
            // Whatever our umask: a directory only root can enter would lock the server out.
            fs::set_permissions(ancestor, Permissions::from_mode(0o755))?;
        }
        fs::DirBuilder::new().mode(0o700).create(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        self.own(path)
    }
}

/// The name of whoever owns this; `None` where the user has none.
///
/// # Errors
/// Where it can't be looked at.
pub fn owner_name(path: &Path) -> io::Result<Option<String>> {
    let uid = Uid::from_raw(fs::metadata(path)?.uid());
    Ok(User::from_uid(uid)?.map(|user| user.name))
}

/// Whether we may, and therefore must, become somebody else to run a server.
pub fn we_are_root() -> bool {
    Uid::effective().is_root()
}

fn lookup_name(name: &str) -> Result<Option<User>, OsUserError> {
    User::from_name(name).map_err(|errno| OsUserError::Lookup {
        who: name.to_owned(),
        source: errno.into(),
    })
}

fn lookup_uid(uid: u32) -> Result<Option<User>, OsUserError> {
    User::from_uid(Uid::from_raw(uid)).map_err(|errno| OsUserError::Lookup {
        who: uid.to_string(),
        source: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_entirely_the_user_that_runs_the_server() {
        let user = OsUser::for_new_server().expect("somebody can run a server");
        let output = user
            .command("/bin/sh")
            .args(["-c", "id -u; id -g; id -G; pwd; echo \"$HOME\""])
            .env("PGPORT_OF_A_TEST", "1")
            .output()
            .expect("sh runs");
        let text = String::from_utf8(output.stdout).expect("plain text");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(user.uid().to_string().as_str()));
        assert_eq!(lines.next(), Some(user.gid().to_string().as_str()));
        let groups: Vec<u32> = lines
            .next()
            .expect("a list of groups")
            .split(' ')
            .map(|number| number.parse().expect("a group's number"))
            .collect();
        assert_ne!(user.uid(), 0, "root never runs a server");
        assert!(!groups.contains(&0) || !we_are_root(), "{groups:?}");
        assert_eq!(lines.next(), Some("/"));
        assert_eq!(lines.next(), user.home.to_str());
    }

    #[test]
    fn the_owner_of_a_data_directory_runs_its_server() {
        let user = OsUser::for_new_server().expect("somebody can run a server");
        let parent = tempfile::tempdir().expect("a directory");
        let data = parent.path().join("one/two/data");
        user.create_private_directory(&data).expect("made");
        assert_eq!(OsUser::of_data_directory(&data).expect("its owner"), user);
        assert_eq!(fs::metadata(&data).expect("there").mode() & 0o777, 0o700);
    }

    #[test]
    fn a_data_directory_of_root_is_refused() {
        assert!(matches!(
            OsUser::of_data_directory(Path::new("/")),
            Err(OsUserError::RootOwnsData { .. })
        ));
        assert!(matches!(
            OsUser::of_data_directory(Path::new("/nonexistent/data")),
            Err(OsUserError::Inspect { .. })
        ));
    }
}
