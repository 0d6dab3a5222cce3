//! Where a backup's archives go: the data directory, and each tablespace.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use manada_wire::backup_stream::Archive;
use manada_wire::command::base_backup::Tablespace;
use manada_wire::entry_path::EntryPath;

use super::CloneError;
use super::request::{CloneRequest, TablespaceMapping};
use super::staging::{self, Staging};

/// Where the links to tablespaces are.
const LINKS: &str = "pg_tblspc";

/// Why a tablespace can't be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TablespaceFault {
    /// Its place has something in it, or is no directory.
    Taken,
    /// Its place is not an absolute path.
    NotAbsolute,
    /// Its place lies in the data directory, or the other way round.
    Nested,
    /// The mapping names a tablespace that the server does not have.
    NotThere,
}

impl fmt::Display for TablespaceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TablespaceFault::Taken => "there is something",
            TablespaceFault::NotAbsolute => "the path is not absolute",
            TablespaceFault::Nested => "it and the data directory lie in one another",
            TablespaceFault::NotThere => "the source has no tablespace there",
        })
    }
}

/// A place for each tablespace.
#[derive(Debug)]
pub(super) struct TablespacePlan {
    in_place: Vec<u32>,
    external: BTreeMap<u32, Arc<Staging>>,
    estimated_bytes: u64,
}

impl TablespacePlan {
    pub(super) fn make(
        tablespaces: &[Tablespace],
        request: &CloneRequest,
        main: &Staging,
    ) -> Result<Self, CloneError> {
        let mut plan = TablespacePlan {
            in_place: Vec::new(),
            external: BTreeMap::new(),
            estimated_bytes: 0,
        };
        check_mappings(tablespaces, &request.tablespaces)?;
        for tablespace in tablespaces {
            plan.estimated_bytes = plan
                .estimated_bytes
                .saturating_add(tablespace.estimated_bytes);
            let (Some(oid), Some(location)) = (tablespace.oid, &tablespace.location) else {
                check_space(main.data(), tablespace.estimated_bytes)?;
                continue;
            };
            let location = Path::new(location);
            if location.is_relative() {
                plan.in_place.push(oid);
                continue;
            }
            let place = mapped(location, &request.tablespaces);
            let staging = stage(place, main)?;
            check_space(staging.data(), tablespace.estimated_bytes)?;
            plan.external.insert(oid, Arc::new(staging));
        }
        for oid in &plan.in_place {
            main.create_directory(&main.data().join(LINKS))?;
            main.create_directory(&main.data().join(LINKS).join(oid.to_string()))?;
        }
        Ok(plan)
    }

    pub(super) fn estimated_bytes(&self) -> u64 {
        self.estimated_bytes
    }

    pub(super) fn archive_roots(&self, main: &Staging) -> ArchiveRoots {
        let tablespace_path = |oid: &u32| {
            EntryPath::parse(format!("{LINKS}/{oid}").as_bytes()).expect("a plain relative path")
        };
        let mut roots = BTreeMap::from([(Archive::Base, (main.data().to_owned(), None))]);
        for oid in &self.in_place {
            let path = tablespace_path(oid);
            let root = main.data().join(path.as_path());
            roots.insert(Archive::Tablespace(*oid), (root, Some(path)));
        }
        for (oid, staging) in &self.external {
            let root = staging.data().to_owned();
            let path = tablespace_path(oid);
            roots.insert(Archive::Tablespace(*oid), (root, Some(path)));
        }
        ArchiveRoots { roots }
    }

    /// Makes the links to the places that the tablespaces will have.
    pub(super) fn link(&self, main: &Staging) -> Result<(), CloneError> {
        let links = main.data().join(LINKS);
        for (oid, staging) in &self.external {
            let link = links.join(oid.to_string());
            main.placement().create_link(&link, staging.target())?;
        }
        Ok(())
    }

    /// Gives all directories their names, the data directory last: a server starts from it.
    pub(super) fn publish(&self, main: &Staging) -> Result<(), CloneError> {
        let published = self
            .external
            .values()
            .try_for_each(|staging| {
                staging.flush_directories()?;
                staging.publish()
            })
            .and_then(|()| main.publish());
        if published.is_err() {
            self.external.values().for_each(|staging| staging.retract());
        }
        published
    }
}

/// Where the entries of each archive go, and what the manifest puts before their paths. Each
/// archive comes once.
#[derive(Debug)]
pub(super) struct ArchiveRoots {
    roots: BTreeMap<Archive, (PathBuf, Option<EntryPath>)>,
}

impl ArchiveRoots {
    pub(super) fn take(&mut self, archive: Archive) -> Option<(PathBuf, Option<EntryPath>)> {
        self.roots.remove(&archive)
    }
}

fn mapped(location: &Path, mappings: &[TablespaceMapping]) -> PathBuf {
    mappings
        .iter()
        .find(|mapping| mapping.from == location)
        .map_or_else(|| location.to_owned(), |mapping| mapping.to.clone())
}

fn check_mappings(
    tablespaces: &[Tablespace],
    mappings: &[TablespaceMapping],
) -> Result<(), CloneError> {
    let fault = |location: &Path, fault| {
        Err(CloneError::Tablespace {
            location: location.to_owned(),
            fault,
        })
    };
    for TablespaceMapping { from, to } in mappings {
        if !to.is_absolute() {
            return fault(to, TablespaceFault::NotAbsolute);
        }
        let known = tablespaces
            .iter()
            .any(|tablespace| tablespace.location.as_deref().map(Path::new) == Some(from));
        if !known {
            return fault(from, TablespaceFault::NotThere);
        }
    }
    Ok(())
}

/// A tablespace's parent must exist, as the data directory's must: nothing is made that would stay
/// behind if the clone fails.
fn stage(place: PathBuf, main: &Staging) -> Result<Staging, CloneError> {
    let fault = |fault| CloneError::Tablespace {
        location: place.clone(),
        fault,
    };
    if place.starts_with(main.target()) || main.target().starts_with(&place) {
        return Err(fault(TablespaceFault::Nested));
    }
    let target = staging::examine(&place).map_err(|error| match error {
        CloneError::TargetNotEmpty { .. }
        | CloneError::TargetNotDirectory { .. }
        | CloneError::TargetIsMountPoint { .. } => fault(TablespaceFault::Taken),
        other => other,
    })?;
    Staging::create(target, main.placement())
}

/// Refuses at once what could not fit. The estimate is the server's, so room that turns out to be
/// too little is still met later, as a full disk.
fn check_space(directory: &Path, needed_bytes: u64) -> Result<(), CloneError> {
    let Ok(space) = rustix::fs::statvfs(directory) else {
        return Ok(());
    };
    let available_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    if needed_bytes > available_bytes {
        return Err(CloneError::NotEnoughSpace {
            directory: directory.to_owned(),
            needed_bytes,
            available_bytes,
        });
    }
    Ok(())
}
