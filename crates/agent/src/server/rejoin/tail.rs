//! The WAL that is lost when a node comes back: saved, and described, before it is.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use manada_model::{Lsn, NodeName, TimelineId};
use manada_postgres::control_file::ControlFile;
use manada_postgres::durable::sync_directory;
use manada_postgres::os_user::OsUser;
use manada_postgres::replace_file::replace_file;
use manada_wal::local::{LocalSegment, LocalWal};
use serde::Serialize;

use super::super::Shared;
use super::super::error::OrderError;
use super::RejoinError;
use super::cloning::demand_room;
use super::rewind::last_timeline;

/// How many tails are kept; the oldest goes first.
const KEPT_MAX: usize = 8;
/// How long counting commits may take.
const COUNTED_WITHIN: Duration = Duration::from_secs(20);

/// `description.json`.
#[derive(Debug, Serialize)]
struct Description {
    /// Whose WAL it is.
    node: NodeName,
    /// Whose history goes on without it.
    leader: NodeName,
    timeline: TimelineId,
    /// Where the histories part; where it is not known, where this node's last checkpoint began.
    from: Lsn,
    from_is_known: bool,
    /// Where it ends.
    to: Lsn,
    bytes: u64,
    /// How many transactions committed in it; unknown where `pg_waldump` is missing.
    commits: Option<u64>,
    saved_at: Timestamp,
    segments: Vec<String>,
}

impl Shared {
    /// Saves what this node has beyond the fork. Nothing is done where it has nothing, or where an
    /// earlier try has saved it.
    pub(super) async fn save_tail(
        &self,
        leader: &NodeName,
        diverged_at: Option<Lsn>,
        control_file: ControlFile,
    ) -> Result<(), OrderError> {
        let saving = Saving {
            node: self.node.file.name.clone(),
            leader: leader.clone(),
            pg_waldump: self.node.file.bin_dir.join("pg_waldump"),
            user: OsUser::of_data_directory(self.node.home.path())?,
            directory: self.node.home.divergent_directory(),
            wal: LocalWal::new(
                &self.node.file.data_directory,
                control_file.wal_segment_bytes,
                control_file.wal_page_bytes,
            ),
            timeline: last_timeline(&control_file),
            from: diverged_at.unwrap_or(control_file.checkpoint.redo_lsn),
            from_is_known: diverged_at.is_some(),
            redo_lsn: control_file.checkpoint.redo_lsn,
        };
        Ok(self.work_on_files(move || saving.run()).await?)
    }
}

struct Saving {
    node: NodeName,
    leader: NodeName,
    pg_waldump: PathBuf,
    user: OsUser,
    directory: PathBuf,
    wal: LocalWal,
    timeline: TimelineId,
    from: Lsn,
    from_is_known: bool,
    /// Where the replay of this node's last checkpoint begins.
    redo_lsn: Lsn,
}

impl Saving {
    fn run(&self) -> Result<(), RejoinError> {
        let segments = self.segments()?;
        let to = self.end()?;
        let name_ends = format!(
            "-{}-{}",
            self.timeline,
            self.from.to_string().replace('/', "_")
        );
        if segments.is_empty() || to == self.from || self.is_saved(&name_ends)? {
            return Ok(());
        }
        self.make_directory(&self.directory)?;
        let bytes: u64 = segments
            .iter()
            .filter_map(|segment| fs::metadata(&segment.path).ok())
            .map(|metadata| metadata.len())
            .sum();
        demand_room(
            &self.directory,
            bytes.saturating_mul(2),
            "WAL that is about to be lost",
        )?;

        let partial = self.directory.join(".partial");
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RejoinError::io("remove", &partial)(error));
            }
            Ok(()) | Err(_) => {}
        }
        self.make_directory(&partial)?;
        for segment in &segments {
            self.copy(segment, &partial)?;
        }
        let description = self.describe(to, &segments, &partial);
        self.write_description(&description, &partial)?;
        let time = description.saved_at.strftime("%Y%m%dT%H%M%SZ");
        let path = self.directory.join(format!("{time}{name_ends}"));
        fs::rename(&partial, &path).map_err(RejoinError::io("rename", &partial))?;
        sync_directory(&self.directory).map_err(RejoinError::io("sync", &self.directory))?;
        let what = if description.from_is_known {
            "WAL that is not part of the herd's history was saved"
        } else {
            "where this node's WAL parts from the herd's history is not known: what it has since its \
             last checkpoint was saved, also what the leader has too"
        };
        tracing::warn!(path = %path.display(), bytes = description.bytes, commits = description.commits,
            "{what}");
        self.forget_oldest()
    }

    /// Where this node's WAL ends. A fork need not lie where a record begins; a checkpoint does.
    fn end(&self) -> Result<Lsn, RejoinError> {
        let failed = || RejoinError::io("read the WAL for", &self.directory);
        let behind = |lsn| self.wal.end_behind(self.timeline, lsn).map_err(failed());
        Ok(behind(self.from)?.max(behind(self.redo_lsn)?))
    }

    /// Those that hold something beyond the fork.
    fn segments(&self) -> Result<Vec<LocalSegment>, RejoinError> {
        let failed = || RejoinError::io("read the WAL for", &self.directory);
        let first = self.wal.segment_of(self.from);
        let mut segments = self.wal.segments().map_err(failed())?;
        segments.retain(|it| it.timeline == self.timeline && it.start_lsn >= first);
        let mut written = Vec::new();
        for segment in segments {
            if self.wal.is_written(&segment).map_err(failed())? {
                written.push(segment);
            }
        }
        Ok(written)
    }

    fn is_saved(&self, name_ends: &str) -> Result<bool, RejoinError> {
        Ok(self
            .tails()?
            .iter()
            .any(|path| path.to_string_lossy().ends_with(name_ends)))
    }

    /// The tails that are there, the oldest first: their names begin with the time.
    fn tails(&self) -> Result<Vec<PathBuf>, RejoinError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RejoinError::io("read", &self.directory)(source)),
        };
        let mut tails: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.join("description.json").exists())
            .collect();
        tails.sort();
        Ok(tails)
    }

    fn forget_oldest(&self) -> Result<(), RejoinError> {
        let tails = self.tails()?;
        let too_many = tails.len().saturating_sub(KEPT_MAX);
        for path in &tails[..too_many] {
            fs::remove_dir_all(path).map_err(RejoinError::io("remove", path))?;
        }
        Ok(())
    }

    fn make_directory(&self, path: &Path) -> Result<(), RejoinError> {
        match self.user.create_private_directory(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(source) => Err(RejoinError::io("create", path)(source)),
        }
    }

    fn copy(&self, segment: &LocalSegment, into: &Path) -> Result<(), RejoinError> {
        let name = segment.path.file_name().unwrap_or_default();
        let to = into.join(name);
        let failed = RejoinError::io("save WAL as", &to);
        fs::copy(&segment.path, &to)
            .and_then(|_| self.user.own(&to))
            .and_then(|()| File::open(&to)?.sync_all())
            .map_err(failed)
    }

    fn describe(&self, to: Lsn, segments: &[LocalSegment], saved: &Path) -> Description {
        let names = segments.iter().filter_map(|it| it.path.file_name());
        Description {
            node: self.node.clone(),
            leader: self.leader.clone(),
            timeline: self.timeline,
            from: self.from,
            from_is_known: self.from_is_known,
            to,
            bytes: to.bytes_since(self.from),
            commits: self.count_commits(to, saved),
            saved_at: Timestamp::now(),
            segments: names.map(|it| it.to_string_lossy().into_owned()).collect(),
        }
    }

    /// How many transactions committed in the tail, if it can be told in time.
    fn count_commits(&self, to: Lsn, saved: &Path) -> Option<u64> {
        if !self.pg_waldump.exists() {
            return None;
        }
        let mut child = self
            .user
            .command(&self.pg_waldump)
            .arg(format!("--path={}", saved.display()))
            .arg(format!("--timeline={}", self.timeline))
            .arg(format!("--start={}", self.from))
            .arg(format!("--end={to}"))
            .arg("--rmgr=Transaction")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let deadline = Instant::now() + COUNTED_WITHIN;
        let mut commits = 0;
        let lines = BufReader::new(child.stdout.take()?).lines();
        let mut in_time = true;
        for line in lines.map_while(Result::ok) {
            commits += u64::from(line.contains("desc: COMMIT"));
            if Instant::now() >= deadline {
                in_time = false;
                break;
            }
        }
        if !in_time {
            child.kill().ok()?;
        }
        child.wait().ok()?;
        in_time.then_some(commits)
    }

    fn write_description(&self, description: &Description, into: &Path) -> Result<(), RejoinError> {
        let json = serde_json::to_string_pretty(description).expect("own types have string keys");
        let owner = manada_postgres::replace_file::FileOwner {
            uid: self.user.uid(),
            gid: self.user.gid(),
            mode: 0o600,
        };
        replace_file(&into.join("README.txt"), &readme(description), owner)?;
        Ok(replace_file(&into.join("description.json"), &json, owner)?)
    }
}

fn readme(description: &Description) -> String {
    let Description {
        node,
        leader,
        timeline,
        from,
        to,
        bytes,
        ..
    } = description;
    let commits = match description.commits {
        Some(1) => "1 transaction committed in it.".to_owned(),
        Some(count) => format!("{count} transactions committed in it."),
        None => "How many transactions committed in it is not known.".to_owned(),
    };
    let whose = if description.from_is_known {
        format!(
            "WAL of node {node} that is not part of its herd's history: {leader} leads, and goes on\n\
             without it."
        )
    } else {
        format!(
            "WAL of node {node} since its last checkpoint. {leader} leads, and this node's data was\n\
             brought into its history. Where the two part is not known: {leader} may have all of this\n\
             too."
        )
    };
    let acknowledged = if description.from_is_known {
        "Those that waited for a standby were not acknowledged. Those that waited for none\n\
         may have been: in an asynchronous herd, while too few standbys were there and commits\n\
         waited for fewer, or where a session had synchronous_commit off. "
    } else {
        ""
    };
    format!(
        "{whose} Timeline {timeline}, from {from} to {to}: {bytes} bytes. {commits}\n\
         \n\
         {acknowledged}To see what is in it:\n\
         \n\
         \x20   pg_waldump --path=. --timeline={timeline} --start={from} --end={to}\n\
         \n\
         When nobody needs it any more, delete this directory.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_is_called_lost_only_where_the_fork_is_known() {
        let mut description = Description {
            node: "carla".parse().expect("valid"),
            leader: "ana".parse().expect("valid"),
            timeline: TimelineId(3),
            from: Lsn(0x100),
            from_is_known: true,
            to: Lsn(0x200),
            bytes: 0x100,
            commits: Some(1041),
            saved_at: Timestamp::UNIX_EPOCH,
            segments: Vec::new(),
        };
        let lost = "not part of its herd's history";
        assert!(readme(&description).contains(lost));
        description.from_is_known = false;
        let said = readme(&description);
        assert!(
            !said.contains(lost) && !said.contains("acknowledged"),
            "{said}"
        );
        assert!(said.contains("Where the two part is not known"), "{said}");
    }
}
