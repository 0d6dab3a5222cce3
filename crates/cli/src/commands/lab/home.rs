//! A lab's directory: the lock that keeps two labs apart, and the marker that tells a lab from anything else.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use manada_model::{SystemIdentifier, TimelineId};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// The marker's name.
const MARKER: &str = "lab.json";
/// What the marker is written as before it gets its name.
const MARKER_UNFINISHED: &str = ".lab.json.new";
/// What the marker says it is.
const MARKER_FORMAT: &str = "manada.lab-home/1";
/// The lock's name; it holds the process id of who holds it.
const LOCK: &str = "lab.lock";
/// How long to wait while what an ended lab left behind is being stopped.
const CLEANING_MAX: Duration = Duration::from_secs(25);
/// How often to try.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
/// How often a removal is tried again because a server's last child was still writing.
const REMOVE_TRIES_MAX: u32 = 50;

/// A lab's directory while this process alone may change it.
#[derive(Debug)]
pub(crate) struct LabHome {
    path: PathBuf,
    lock: File,
    /// Directories above that did not exist before, outermost first.
    made_above: Vec<PathBuf>,
}

/// What the lab knows about its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    format: String,
    /// Directories that were made only for this lab, outermost first.
    made_directories: Vec<PathBuf>,
    /// How the practice left the herd; absent while it is being played.
    pub(crate) end: Option<End>,
}

/// How the practice left the herd: what a later look is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The herd's system identifier.
    pub(crate) system_identifier: SystemIdentifier,
    /// The timeline all nodes were on.
    pub(crate) timeline: TimelineId,
    /// The primary's next transaction id, epoch included.
    pub(crate) next_transaction_id: u64,
}

/// What is in a directory that was named for a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing that counts.
    Nothing,
    /// A lab that was broken off.
    Unfinished(Marker),
    /// A lab that was played to its end.
    Complete(Marker, End),
    /// Something no lab made.
    SomebodyElses,
}

impl LabHome {
    /// Takes hold of `path`, making it where it is missing.
    pub(crate) fn make(path: &Path) -> Result<LabHome, Failure> {
        let path = std::path::absolute(path).map_err(|error| cannot("use", path, &error))?;
        let made_above = make_directories(&path)?;
        let mut home = LabHome::hold(path)?;
        home.made_above = made_above;
        Ok(home)
    }

    /// Takes hold of `path`; `None` where there is nothing.
    pub(crate) fn existing(path: &Path) -> Result<Option<LabHome>, Failure> {
        let path = std::path::absolute(path).map_err(|error| cannot("use", path, &error))?;
        if !path.join(MARKER).exists() {
            return match contents_without_marker(&path) {
                Ok(Contents::Nothing) => Ok(None),
                Ok(_) => Err(somebody_elses(&path)),
                Err(error) => Err(cannot("read", &path, &error)),
            };
        }
        LabHome::hold(path).map(Some)
    }

    fn hold(path: PathBuf) -> Result<LabHome, Failure> {
        let deadline = Instant::now() + CLEANING_MAX;
        let file = path.join(LOCK);
        loop {
            let mut lock = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&file)
                .map_err(|error| cannot("write to", &path, &error))?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_same_file(&lock, &file) => {
                    lock.set_len(0)
                        .and_then(|()| write!(lock, "{}", std::process::id()))
                        .map_err(|error| cannot("write to", &path, &error))?;
                    return Ok(LabHome {
                        path,
                        lock,
                        made_above: Vec::new(),
                    });
                }
                // It was removed or moved between being opened and being locked.
                Ok(()) => {
                    make_directories(&path)?;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    if let Some(holder) = living_holder(&mut lock) {
                        return Err(held(&path, &format!("process {holder}")));
                    }
                }
                Err(errno) => return Err(cannot("lock", &file, &errno.into())),
            }
            // The process that took it is dead: its tether is stopping the servers it left.
            if Instant::now() >= deadline {
                return Err(held(&path, "what watches over it"));
            }
            std::thread::sleep(LOCK_INTERVAL);
        }
    }

    /// What `lock` holds, if it is still the lock of what is at `path`.
    pub(crate) fn still_held(path: &Path, lock: File) -> Option<LabHome> {
        is_same_file(&lock, &path.join(LOCK)).then(|| LabHome {
            path: path.to_path_buf(),
            lock,
            made_above: Vec::new(),
        })
    }

    /// The directory, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle of the same lock: it is held until the last one is closed.
    pub(crate) fn share_lock(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// What is there.
    pub(crate) fn contents(&self) -> Result<Contents, Failure> {
        let text = match fs::read_to_string(self.path.join(MARKER)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return contents_without_marker(&self.path)
                    .map_err(|error| cannot("read", &self.path, &error));
            }
            Err(error) => return Err(cannot("read", &self.path.join(MARKER), &error)),
        };
        Ok(match serde_json::from_str::<Marker>(&text) {
            Ok(marker) if marker.format == MARKER_FORMAT => match marker.end.clone() {
                Some(end) => Contents::Complete(marker, end),
                None => Contents::Unfinished(marker),
            },
            Ok(_) | Err(_) => Contents::SomebodyElses,
        })
    }

    /// Marks the directory as that of a lab being built, and removes what an earlier one made.
    pub(crate) fn begin(&mut self) -> Result<Marker, Failure> {
        match self.contents()? {
            Contents::SomebodyElses => return Err(somebody_elses(&self.path)),
            Contents::Unfinished(earlier) | Contents::Complete(earlier, _) => {
                self.made_above = earlier.made_directories;
            }
            Contents::Nothing => {}
        }
        // First, so that half a removal is no complete lab.
        let marker = self.mark_building()?;
        self.clear()?;
        Ok(marker)
    }

    fn mark_building(&self) -> Result<Marker, Failure> {
        let marker = Marker {
            format: MARKER_FORMAT.to_owned(),
            made_directories: self.made_above.clone(),
            end: None,
        };
        self.mark(&marker)?;
        Ok(marker)
    }

    /// Writes the marker: the new one or the old one is there at any moment.
    pub(crate) fn mark(&self, marker: &Marker) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(marker).expect("own types have string keys");
        let unfinished = self.path.join(MARKER_UNFINISHED);
        let written = File::create(&unfinished)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&unfinished, self.path.join(MARKER)))
            .and_then(|()| File::open(&self.path)?.sync_all());
        written.map_err(|error| cannot("write to", &self.path, &error))
    }

    /// Gives the directory another name beside its own, and makes an empty one in its place.
    pub(crate) fn set_aside(self) -> Result<(LabHome, PathBuf), Failure> {
        let kept = free_name_beside(&self.path);
        fs::rename(&self.path, &kept).map_err(|error| cannot("move aside", &self.path, &error))?;
        Ok((LabHome::make(&self.path)?, kept))
    }

    /// Removes what a lab made, but not the directory itself.
    fn clear(&self) -> Result<(), Failure> {
        let keep = |name: &std::ffi::OsStr| name == LOCK || name == MARKER;
        retry_while_not_empty(|| {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if keep(&entry.file_name()) {
                    continue;
                }
                remove(&entry.path(), entry.file_type()?)?;
            }
            Ok(())
        })
        .map_err(|error| cannot("remove what is in", &self.path, &error))
    }

    /// Removes the lab with its directory, and the directories above that were made for it alone.
    /// The marker goes last: broken off, a second removal still knows what it may remove.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        let made_above = match self.contents()? {
            Contents::Unfinished(marker) | Contents::Complete(marker, _) => marker.made_directories,
            Contents::Nothing => self.made_above.clone(),
            Contents::SomebodyElses => return Err(somebody_elses(&self.path)),
        };
        self.clear()?;
        for name in [MARKER, LOCK] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &self.path.join(name), &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        // The directory itself may have been there before the lab, or be a mount point.
        for directory in made_above.iter().rev() {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Makes `path` and what is missing above it, enterable by the user who runs the servers; says
/// which were made.
fn make_directories(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.exists())
        .map(Path::to_path_buf)
        .collect();
    missing.reverse();
    for directory in &missing {
        let made = match fs::create_dir(directory) {
            // Another lab was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            // Whatever our umask: a directory only root can enter would lock the servers out.
            Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o755)),
        };
        made.map_err(|error| cannot("make", directory, &error))?;
    }
    Ok(missing)
}

fn contents_without_marker(path: &Path) -> io::Result<Contents> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Nothing),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        // A lab that was killed before it had marked its directory.
        if name != LOCK && name != MARKER_UNFINISHED && name != "lost+found" {
            return Ok(Contents::SomebodyElses);
        }
    }
    Ok(Contents::Nothing)
}

fn remove(path: &Path, kind: fs::FileType) -> io::Result<()> {
    let removed = if kind.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn retry_while_not_empty(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 1..REMOVE_TRIES_MAX {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(LOCK_INTERVAL);
            }
            other => return other,
        }
    }
    attempt()
}

/// `lab` becomes `lab.kept-20260102T030405Z`.
fn free_name_beside(path: &Path) -> PathBuf {
    let now = jiff::Timestamp::now()
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    let name = |suffix: &str| {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".kept-{now}{suffix}"));
        path.with_file_name(name)
    };
    std::iter::once(String::new())
        .chain((2..).map(|number| format!("-{number}")))
        .map(|suffix| name(&suffix))
        .find(|candidate| !candidate.exists())
        .expect("the numbers do not end")
}

fn is_same_file(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn living_holder(lock: &mut File) -> Option<i32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    let number = text.trim().parse().ok()?;
    let pid = Pid::from_raw(number)?;
    match test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(number),
        Err(_) => None,
    }
}

fn held(path: &Path, holder: &str) -> Failure {
    Failure::refused(format!("another lab is at work in {}", path.display()))
        .because(format!("{holder} holds it"))
        .next("wait until it has ended, or name another directory: manada lab --home DIR")
}

pub(crate) fn somebody_elses(path: &Path) -> Failure {
    Failure::refused(format!(
        "{} holds something that manada lab did not make",
        path.display()
    ))
    .because(format!("it is not empty and has no {MARKER} in it"))
    .next("name another directory: manada lab --home DIR")
}

fn cannot(action: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::failed(format!("can't {action} {}", path.display())).because(error);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.next("make room there (a lab takes some 100 MB a node), or name another directory: manada lab --home DIR")
        }
        _ => failure.next("name a directory you may write to: manada lab --home DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> End {
        End {
            system_identifier: "7000000000000000001".parse().expect("an identifier"),
            timeline: TimelineId(1),
            next_transaction_id: 742,
        }
    }

    #[test]
    fn a_lab_begun_anew_has_nothing_of_the_earlier_one() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("made/lab");
        let mut home = LabHome::make(&path).expect("held");
        home.begin().expect("begun");
        fs::create_dir_all(path.join("node1/data")).expect("made");
        drop(home);
        let mut home = LabHome::make(&path).expect("held");
        home.begin().expect("begun again");
        assert!(!path.join("node1").exists());
        home.remove().expect("removed");
        assert!(
            !parent.path().join("made").exists(),
            "it was made for the first"
        );
    }

    #[test]
    fn a_second_lab_is_refused_and_told_who_holds_the_directory() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("lab");
        let home = LabHome::make(&path).expect("held");
        let refused = LabHome::make(&path).expect_err("held already");
        assert_eq!(refused.exit(), crate::error::Exit::Refused);
        let why = refused.why().expect("a reason");
        assert!(why.contains(&std::process::id().to_string()), "{why}");
        drop(home);
        LabHome::make(&path).expect("free again");
    }

    #[test]
    fn a_lab_is_removed_with_the_directories_made_for_it_and_no_others() {
        let parent = tempfile::tempdir().expect("a directory");
        let mut home = LabHome::make(&parent.path().join("a/b/lab")).expect("held");
        let mut marker = home.begin().expect("begun");
        fs::create_dir_all(home.path().join("node1/data")).expect("made");
        assert_eq!(home.contents(), Ok(Contents::Unfinished(marker.clone())));
        marker.end = Some(end());
        home.mark(&marker).expect("marked");
        assert_eq!(home.contents(), Ok(Contents::Complete(marker, end())));
        home.remove().expect("removed");
        assert!(parent.path().exists());
        assert!(!parent.path().join("a").exists());
    }

    #[test]
    fn what_no_lab_made_is_neither_used_nor_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("thesis.txt"), "years").expect("written");
        assert!(LabHome::existing(directory.path()).is_err());
        let mut home = LabHome::make(directory.path()).expect("held");
        assert_eq!(home.contents(), Ok(Contents::SomebodyElses));
        assert!(home.begin().is_err());
        assert!(home.remove().is_err());
        assert!(directory.path().join("thesis.txt").exists());
    }

    #[test]
    fn a_lab_set_aside_is_whole_under_its_new_name() {
        let parent = tempfile::tempdir().expect("a directory");
        let mut home = LabHome::make(&parent.path().join("lab")).expect("held");
        home.begin().expect("begun");
        fs::write(home.path().join("kept"), "").expect("written");
        let (home, kept) = home.set_aside().expect("moved");
        assert_eq!(home.contents(), Ok(Contents::Nothing));
        assert!(kept.join("kept").exists());
        let second = home.set_aside().expect("moved").1;
        assert_ne!(kept, second);
    }
}
