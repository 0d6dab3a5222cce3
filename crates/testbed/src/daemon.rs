//! A program that runs in the background of a host until it is killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::background;
use crate::host::Host;
use crate::process;

/// A running program whose parent is this process. It is killed when it is dropped, and when this
/// process ends, however it does.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts `program`; `complete` gives it its arguments and environment. What it says is
    /// appended to `log`.
    pub fn start(
        host: &Host,
        program: &Path,
        log: &Path,
        complete: impl FnOnce(&mut Command),
    ) -> io::Result<Daemon> {
        let mut command = host.command("setpriv");
        command
            .arg("--pdeathsig=KILL")
            .arg(program)
            .stdin(Stdio::null());
        complete(&mut command);
        let said = File::options().create(true).append(true).open(log)?;
        command.stdout(said.try_clone()?).stderr(said);
        // The signal comes at the end of the parent's thread, and a test's thread ends.
        let child = background::run(async move { command.spawn() })?;
        Ok(Daemon { child })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(&[self.pid()], signal);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where one of this machine's programs is.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.exists())
}
