//! Memory that PostgreSQL's processes share, and that outlives them when they are killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Pid;

use crate::run::output;

/// One piece of it, as `/proc/PID/maps` shows it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SharedMemory {
    /// A System V segment: the few bytes by which a data directory is kept from two servers.
    Segment { id: u32 },
    /// A file in memory: what parallel workers and statistics use.
    File(PathBuf),
}

impl SharedMemory {
    /// What the process shares with others.
    pub(crate) fn of(pid: Pid) -> Vec<SharedMemory> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", pid.as_raw_nonzero()));
        let maps = maps.unwrap_or_default();
        maps.lines().filter_map(SharedMemory::in_line).collect()
    }

    /// `ADDRESSES PERMISSIONS OFFSET DEVICE INODE PATH`; a segment's inode is its id.
    fn in_line(line: &str) -> Option<SharedMemory> {
        let mut fields = line.split_ascii_whitespace().skip(4);
        let (inode, path) = (fields.next()?, fields.next()?);
        if path.starts_with("/SYSV") {
            let id = inode.parse().ok()?;
            Some(SharedMemory::Segment { id })
        } else if path.starts_with("/dev/shm/PostgreSQL.") {
            Some(SharedMemory::File(PathBuf::from(path)))
        } else {
            None
        }
    }

    /// Removes it; it may be gone already.
    pub(crate) fn remove(self) {
        match self {
            SharedMemory::Segment { id } => {
                output(Command::new("ipcrm").args(["--shmem-id", &id.to_string()])).ok();
            }
            SharedMemory::File(path) => {
                fs::remove_file(path).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_files_are_told_from_what_is_private() {
        let found = |line| SharedMemory::in_line(line);
        assert_eq!(
            found("7f1c0000-7f1c1000 rw-s 00000000 00:01 98304    /SYSV0052e2c1 (deleted)"),
            Some(SharedMemory::Segment { id: 98304 })
        );
        assert_eq!(
            found("7f1c0000-7f1c7000 rw-s 00000000 00:1a 3        /dev/shm/PostgreSQL.99"),
            Some(SharedMemory::File("/dev/shm/PostgreSQL.99".into()))
        );
        assert_eq!(
            found("7f1c0000-7f1c7000 rw-s 00000000 00:01 9 /dev/zero (deleted)"),
            None
        );
        assert_eq!(found("7f1c0000-7f1c7000 rw-p 00000000 00:00 0"), None);
    }
}
