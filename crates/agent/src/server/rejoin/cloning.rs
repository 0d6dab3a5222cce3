//! A new clone beside the old data, which takes its place in one exchange of names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use manada_herd::protection;
use manada_postgres::Session;
use manada_postgres::conninfo::Endpoint;
use manada_postgres::durable::sync_directory;
use manada_postgres::settings::{FILE_NAME, ManagedSettings};
use manada_wal::clone::{CloneRequest, CloneSlot, ExtraFile};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::Shared;
use super::super::error::OrderError;
use super::RejoinError;

/// What the directory beside is called, after the data directory's own name.
const BESIDE: &str = ".manada-rejoin";

/// What a clone takes besides the databases: WAL that is written meanwhile.
const MARGIN_BYTES: u64 = 256 << 20;

impl Shared {
    pub(super) async fn clone_beside(&self, leader: Endpoint) -> Result<(), OrderError> {
        let data_directory = self.real_data_directory();
        let beside = beside(&data_directory);
        // Of an earlier try: a clone that is out of date, or data that was replaced.
        let former = beside.clone();
        self.work_on_files(move || remove(&former)).await?;
        self.demand_room(&leader, &data_directory).await?;
        let mut request = CloneRequest::new(
            self.source(leader),
            &beside,
            CloneSlot::Create(self.node.file.name.slot()),
        );
        request.owner = Some(manada_postgres::os_user::OsUser::of_data_directory(
            self.node.home.path(),
        )?);
        request.system_identifier = Some(self.node.file.system_identifier);
        let mut files = vec![ExtraFile {
            path: "standby.signal".to_owned(),
            contents: Vec::new(),
        }];
        let own = self.own_configuration()?;
        let lost = self.has_lost_its_settings(&own);
        let own = own
            .into_iter()
            .filter(|(path, _)| !lost || path != FILE_NAME);
        files.extend(own.map(|(path, text)| ExtraFile {
            path,
            contents: text.into_bytes(),
        }));
        let node = self.node.clone();
        request.configure = Some(Box::new(move |clone| {
            if lost {
                let cloned = ManagedSettings::read(&clone.join(FILE_NAME))?;
                let settings = protection::settings_anew(cloned, &node)?;
                files.push(ExtraFile {
                    path: FILE_NAME.to_owned(),
                    contents: settings.render()?.into_bytes(),
                });
            }
            Ok(files)
        }));
        let cloned = manada_wal::clone::run(request, |_| {}).await;
        cloned.map_err(RejoinError::from)?;
        Ok(exchange(&beside, &data_directory)?)
    }

    /// Whether the node's settings lay in the data directory, and are not there: none are, or those
    /// of the server that it was cloned from.
    fn has_lost_its_settings(&self, own: &[(String, String)]) -> bool {
        let file = &self.node.file;
        if !file.settings_file().starts_with(&file.data_directory) {
            return false;
        }
        let settings = own.iter().find(|(path, _)| path == FILE_NAME);
        let name = format!("cluster_name = '{}'", file.name);
        !settings.is_some_and(|(_, text)| file.adopted || text.contains(&name))
    }

    /// Removes the data that a clone has replaced. Its server runs by now.
    pub(in super::super) fn remove_replaced_data(&self) {
        let beside = beside(&self.real_data_directory());
        if !beside.exists() {
            return;
        }
        // Another start removes it where this one can't.
        let Ok(working) = Arc::clone(&self.file_work).try_lock_owned() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let _working = working;
            if let Err(error) = remove(&beside) {
                tracing::warn!(%error, "the data that was replaced stays");
            }
        });
    }

    fn real_data_directory(&self) -> PathBuf {
        let path = &self.node.file.data_directory;
        path.canonicalize().unwrap_or_else(|_| path.clone())
    }

    async fn demand_room(
        &self,
        leader: &Endpoint,
        data_directory: &Path,
    ) -> Result<(), RejoinError> {
        let bytes = self.size_of(leader).await?.database_bytes;
        demand_room_beside(data_directory, bytes)
    }

    /// A rewind that would copy more than a clone is none, where a clone has room: all WAL that the
    /// leader keeps goes over, as any file that is not of a relation (`decide_file_action` in
    /// `filemap.c`, the same from 15 to 18).
    pub(super) async fn demand_less_than_a_clone(
        &self,
        leader: &Endpoint,
    ) -> Result<(), RejoinError> {
        let Size {
            database_bytes,
            wal_bytes,
        } = self.size_of(leader).await?;
        let is_less = wal_bytes <= database_bytes.saturating_add(MARGIN_BYTES);
        if is_less || demand_room_beside(&self.real_data_directory(), database_bytes).is_err() {
            return Ok(());
        }
        Err(RejoinError::MoreThanAClone {
            wal_bytes,
            database_bytes,
        })
    }

    async fn size_of(&self, leader: &Endpoint) -> Result<Size, RejoinError> {
        let session = Session::open(&self.node.monitor(leader.clone())).await?;
        let sql = "SELECT (SELECT sum(pg_database_size(oid))::int8 FROM pg_database), \
                   (SELECT coalesce(sum(size), 0)::int8 FROM pg_ls_waldir())";
        let row = session.query_one(sql, &[]).await;
        let row = row.map_err(|source| RejoinError::Sql { source })?;
        let bytes = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
        Ok(Size {
            database_bytes: bytes(0),
            wal_bytes: bytes(1),
        })
    }
}

/// What there is to copy of a leader.
struct Size {
    database_bytes: u64,
    wal_bytes: u64,
}

fn demand_room_beside(data_directory: &Path, database_bytes: u64) -> Result<(), RejoinError> {
    demand_room(
        data_directory.parent().unwrap_or(Path::new("/")),
        database_bytes.saturating_add(MARGIN_BYTES),
        "a clone beside the old data",
    )
}

/// Proves that a file system has that much left.
pub(super) fn demand_room(
    path: &Path,
    needed_bytes: u64,
    what: &'static str,
) -> Result<(), RejoinError> {
    let space = rustix::fs::statvfs(path)
        .map_err(|errno| RejoinError::io("see the free space at", path)(errno.into()))?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    Err(RejoinError::NoRoom {
        what,
        path: path.to_path_buf(),
        needed_bytes,
        free_bytes,
    })
}

fn beside(data_directory: &Path) -> PathBuf {
    let mut name = data_directory.file_name().unwrap_or_default().to_owned();
    name.push(BESIDE);
    data_directory.with_file_name(name)
}

/// There is no moment without data: the names change places.
fn exchange(clone: &Path, data_directory: &Path) -> Result<(), RejoinError> {
    let flags = if data_directory.exists() {
        RenameFlags::EXCHANGE
    } else {
        RenameFlags::NOREPLACE
    };
    renameat_with(CWD, clone, CWD, data_directory, flags).map_err(|errno| {
        RejoinError::io("put the clone in the place of", data_directory)(errno.into())
    })?;
    let parent = data_directory.parent().unwrap_or(Path::new("/"));
    sync_directory(parent).map_err(RejoinError::io("sync", parent))
}

fn remove(path: &Path) -> Result<(), RejoinError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RejoinError::io("remove", path)(source)),
    }
}
