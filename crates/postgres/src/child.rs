//! What has to happen between fork and exec: becoming another user, and living on or not.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Gid, Signal, Uid};

/// How long a child program lives, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// It is asked to end (SIGTERM) when the thread that started it ends, also by kill -9.
    EndsWithUs,
    /// It survives us and our terminal, in a session of its own.
    SurvivesUs,
}

/// Another user's numbers, to be taken on.
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Has `command` become somebody else, if asked to, and live as `life` says.
///
/// The standard library's own `uid`/`gid` would drop the user's supplementary groups, which a
/// server may need (a private key readable by `ssl-cert`).
#[allow(unsafe_code)]
pub(crate) fn prepare(command: &mut Command, become_user: Option<Identity>, life: Lifetime) {
    let numbers = become_user.map(|identity| {
        let groups: Vec<Gid> = identity.groups.into_iter().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        (uid, gid, groups)
    });
    let between_fork_and_exec = move || -> io::Result<()> {
        if let Some((uid, gid, groups)) = &numbers {
            rustix::thread::set_thread_groups(groups)?;
            rustix::thread::set_thread_gid(*gid)?;
            rustix::thread::set_thread_uid(*uid)?;
        }
        match life {
            // After the change of user, which would clear it.
            Lifetime::EndsWithUs => {
                rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?
            }
            Lifetime::SurvivesUs => {
                rustix::process::setsid()?;
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes direct system calls only, which are async-signal-safe, touches
    // no lock and allocates nothing; the forked child has one thread, so that changing the
    // thread's user and groups changes the process's.
    unsafe {
        command.pre_exec(between_fork_and_exec);
    }
}
