//! One host of a network: where commands are run, and where they connect from.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use manada_postgres::os_user::OsUser;
use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::network::namespace_file;
use crate::process;
use crate::run::output;

/// A host: its own network namespace with one address, its own hostname, its own home. It lasts
/// as long as its [`Network`](crate::Network); a copy is the same host.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) home: PathBuf,
    pub(crate) namespace: String,
}

impl Host {
    /// Its hostname, by which the other hosts of its network reach it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A directory of its own; the home and the working directory of root's commands.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command of root on this host. Its environment has `HOME` and `PATH` and no other.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.entry();
        command.arg(program);
        command
    }

    /// A command of another user of this machine, in the directory `home`, which becomes theirs.
    ///
    /// # Panics
    /// When there is no such user, or the directory can't be given.
    #[track_caller]
    pub fn command_as(&self, user: &str, home: &Path, program: impl AsRef<OsStr>) -> Command {
        if let Err(error) = output(Command::new("chown").arg(user).arg(home)) {
            panic!("{error}");
        }
        let mut command = self.entry();
        command
            .args(["runuser", "-u", user, "--"])
            .arg(program)
            .env("HOME", home)
            .current_dir(home);
        command
    }

    /// `setpriv` on this host for `user`; its further arguments and the program are still to be
    /// given.
    pub(crate) fn command_of(&self, user: &OsUser) -> Command {
        let mut command = self.entry();
        command
            .arg("setpriv")
            .arg(format!("--reuid={}", user.uid()))
            .arg(format!("--regid={}", user.gid()))
            .arg("--init-groups");
        command
    }

    /// What enters the host; the program and its arguments follow. Each step becomes the next
    /// one, so the process id is the program's.
    fn entry(&self) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .args(["unshare", "--uts", "sh", "-c"])
            .args([r#"hostname "$0" && exec "$@""#, &self.name])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .current_dir(&self.home);
        command
    }

    /// Runs `work` on a thread that is on this host: sockets that it makes belong there.
    ///
    /// # Panics
    /// When `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || -> io::Result<()> {
            let namespace = File::open(namespace_file(&self.namespace))?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(())
        };
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter().expect("root may enter a namespace");
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A TCP connection from this host.
    pub fn connect(&self, address: &str, port: u16) -> io::Result<TcpStream> {
        self.inside(|| TcpStream::connect((address, port)))
    }

    /// Stops everything on it where it is (SIGSTOP), as a paused virtual machine.
    pub fn pause(&self) {
        process::signal(&self.processes(), Signal::STOP);
    }

    /// Lets a paused host go on.
    pub fn resume(&self) {
        process::signal(&self.processes(), Signal::CONT);
    }

    /// Kills everything on it at once. What was written stays in the system's cache: this is no
    /// power loss.
    pub fn crash(&self) {
        process::kill(|| self.processes());
    }

    /// The ids of the processes on it.
    pub fn process_ids(&self) -> Vec<u32> {
        let ids = self.processes().into_iter();
        ids.map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
            .collect()
    }

    fn processes(&self) -> Vec<Pid> {
        process::in_namespaces(&[namespace_file(&self.namespace)])
    }
}
