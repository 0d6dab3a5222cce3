//! What a rewind would overwrite and must not: this node's own configuration; and the mark that says
//! that the data is in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use manada_model::NodeName;
use manada_postgres::durable::{sync_directory, sync_tree};
use manada_postgres::replace_file::{FileOwner, replace_file};
use serde::Serialize;

use super::super::Shared;
use super::super::error::OrderError;
use super::RejoinError;

/// The most that a configuration file is believed to have.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What the mark says, for whoever finds it.
#[derive(Debug, Serialize)]
struct Mark<'a> {
    leader: &'a NodeName,
    means: &'static str,
}

impl Shared {
    /// Whether a rewind was begun and did not come to its end: the data is no server's then.
    pub(in super::super) fn rejoin_is_unfinished(&self) -> bool {
        self.node.home.rejoin_mark().exists()
    }

    pub(in super::super) fn demand_no_rejoin(&self) -> Result<(), OrderError> {
        if self.rejoin_is_unfinished() {
            Err(OrderError::RejoinUnfinished)
        } else {
            Ok(())
        }
    }

    /// Keeps this node's configuration, durably, and says that its data is about to change.
    pub(super) fn begin_rewind(&self, leader: &NodeName) -> Result<(), RejoinError> {
        let kept = self.kept_configuration();
        discard(&kept)?;
        let partial = kept.with_extension("partial");
        discard(&partial)?;
        fs::create_dir(&partial).map_err(RejoinError::io("create", &partial))?;
        for (name, text) in configuration_in(&self.node.file.data_directory)? {
            let path = partial.join(name);
            fs::write(&path, text).map_err(RejoinError::io("write", &path))?;
        }
        sync_tree(&partial).map_err(RejoinError::io("sync", &partial))?;
        fs::rename(&partial, &kept).map_err(RejoinError::io("rename", &partial))?;
        let mark = Mark {
            leader,
            means: "A rewind is at work on the data directory, or was broken off.",
        };
        let text = serde_json::to_string_pretty(&mark).expect("own types have string keys");
        Ok(replace_file(
            &self.node.home.rejoin_mark(),
            &text,
            self.home_owner()?,
        )?)
    }

    /// Puts this node's configuration back in place of the leader's.
    pub(super) fn put_configuration_back(&self) -> Result<(), RejoinError> {
        let data_directory = &self.node.file.data_directory;
        let owner = FileOwner::like(data_directory)
            .map_err(RejoinError::io("look at", data_directory))?
            .with_mode(0o600);
        for (name, text) in self.own_configuration()? {
            replace_file(&data_directory.join(name), &text, owner)?;
        }
        Ok(())
    }

    /// This node's configuration files that lie in the data directory, by their names: as they were
    /// kept, where a rewind has begun.
    pub(super) fn own_configuration(&self) -> Result<Vec<(String, String)>, RejoinError> {
        let kept = self.kept_configuration();
        if self.rejoin_is_unfinished() && kept.is_dir() {
            configuration_in(&kept)
        } else {
            configuration_in(&self.node.file.data_directory)
        }
    }

    /// The data is a server's again.
    pub(super) fn finish_rejoin(&self) -> Result<(), OrderError> {
        let mark = self.node.home.rejoin_mark();
        match fs::remove_file(&mark) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(RejoinError::io("remove", &mark)(source).into()),
        }
        let home = self.node.home.path();
        sync_directory(home).map_err(RejoinError::io("sync", home))?;
        Ok(discard(&self.kept_configuration())?)
    }

    fn kept_configuration(&self) -> PathBuf {
        self.node.home.path().join("rejoin-configuration")
    }

    pub(super) fn home_owner(&self) -> Result<FileOwner, RejoinError> {
        let home = self.node.home.path();
        Ok(FileOwner::like(home)
            .map_err(RejoinError::io("look at", home))?
            .with_mode(0o600))
    }
}

/// The files at the top of a directory whose names end in `.conf`; none where somebody has removed
/// the directory.
fn configuration_in(directory: &Path) -> Result<Vec<(String, String)>, RejoinError> {
    let failed = RejoinError::io("read", directory);
    let mut files = Vec::new();
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = match entries {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.path();
        let failed = RejoinError::io("read", &path);
        let name = entry.file_name().into_string().unwrap_or_default();
        let metadata = fs::metadata(&path);
        let is_file = metadata.is_ok_and(|it| it.is_file() && it.len() <= FILE_BYTES_MAX);
        if is_file && name.ends_with(".conf") {
            let text = fs::read_to_string(&path).map_err(failed)?;
            files.push((name, text));
        }
    }
    files.sort();
    Ok(files)
}

fn discard(directory: &Path) -> Result<(), RejoinError> {
    match fs::remove_dir_all(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RejoinError::io("remove", directory)(source)),
    }
}
