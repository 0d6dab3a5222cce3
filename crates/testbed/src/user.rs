//! The operating system's user that servers run as: never root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Who runs servers: the user who runs the tests, or for root `postgres`, else `nobody`.
    pub(crate) fn of_servers() -> User {
        if !rustix::process::geteuid().is_root() {
            return User::of_this_process();
        }
        User::named("postgres")
            .or_else(|| User::named("nobody"))
            .expect("a Unix machine has the user nobody")
    }

    /// Who runs the tests.
    pub(crate) fn of_this_process() -> User {
        User {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// The user of this name in `/etc/passwd`.
    pub(crate) fn named(name: &str) -> Option<User> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        let mut fields = passwd
            .lines()
            .map(|line| line.split(':'))
            .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { uid, gid })
    }

    /// Has `command` run as this user.
    pub(crate) fn runs(&self, command: &mut Command) {
        if rustix::process::geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
    }
}
