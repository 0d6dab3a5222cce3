//! Turns a base backup's copy data into files.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use manada_wire::backup_stream::{Archive, BackupMessage};
use manada_wire::entry_path::EntryPath;
use manada_wire::manifest::{ManifestItem, ManifestReader};
use manada_wire::tar::{TarEntry, TarEvent, TarKind, TarReader};

use super::copy::Copied;
use super::error::StreamFault;
use super::flusher::Flusher;
use super::inventory::{ENTRIES_MAX, Hasher, Inventory};
use super::progress::Counters;
use super::staging::Staging;
use super::tablespaces::{ArchiveRoots, TablespacePlan};
use super::{ChecksumAlgorithm, CloneError};

/// The manifest's name in the data directory.
const MANIFEST: &str = "backup_manifest";

/// After how many bytes of one file they are handed to the disk, so that little is left to wait
/// for when the file ends.
const FLUSH_BYTES: u64 = 64 << 20;

/// A base backup that is being written to disk and verified.
#[derive(Debug)]
pub(super) struct Extraction {
    staging: Arc<Staging>,
    roots: ArchiveRoots,
    inventory: Inventory,
    flusher: Flusher,
    counters: Arc<Counters>,
    section: Section,
    entries: usize,
    files: u64,
    bytes: u64,
}

/// What the stream is at.
#[derive(Debug)]
enum Section {
    Beginning,
    Archive(OpenArchive),
    Manifest {
        reader: ManifestReader,
        path: PathBuf,
        file: File,
    },
}

#[derive(Debug)]
struct OpenArchive {
    /// Where its entries go.
    root: PathBuf,
    /// What the manifest puts before their paths.
    prefix: Option<EntryPath>,
    is_base: bool,
    tar: TarReader,
    file: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    listed_as: EntryPath,
    file: File,
    hasher: Hasher,
    bytes: u64,
    unflushed_bytes: u64,
}

impl Extraction {
    pub(super) fn new(
        staging: &Arc<Staging>,
        plan: &TablespacePlan,
        algorithm: ChecksumAlgorithm,
        flusher: Flusher,
        counters: Arc<Counters>,
    ) -> Self {
        Extraction {
            staging: Arc::clone(staging),
            roots: plan.archive_roots(staging),
            inventory: Inventory::new(algorithm),
            flusher,
            counters,
            section: Section::Beginning,
            entries: 0,
            files: 0,
            bytes: 0,
        }
    }

    /// Takes what one CopyData message holds.
    pub(super) fn take(&mut self, copy_data: Bytes) -> Result<(), CloneError> {
        match BackupMessage::decode(copy_data)? {
            BackupMessage::Data(data) => match self.section {
                Section::Beginning => Err(StreamFault::DataBeforeArchive.into()),
                Section::Archive(_) => self.take_archive_data(data),
                Section::Manifest { .. } => self.take_manifest_data(&data),
            },
            BackupMessage::NewArchive { archive, .. } => {
                self.end_archive()?;
                self.section = Section::Archive(self.open_archive(archive)?);
                Ok(())
            }
            BackupMessage::Manifest => {
                self.end_archive()?;
                let path = self.staging.data().join(MANIFEST);
                self.section = Section::Manifest {
                    reader: ManifestReader::new(),
                    file: self.staging.placement().create_file(&path, 0)?,
                    path,
                };
                Ok(())
            }
            BackupMessage::Progress(_) => Ok(()),
        }
    }

    /// Says that the stream has ended: all must be there and be as the manifest says.
    pub(super) fn finish(mut self) -> Result<Copied, CloneError> {
        let Section::Manifest { reader, path, file } = self.section else {
            return Err(StreamFault::NoManifest.into());
        };
        reader.finish()?;
        self.inventory.finish()?;
        self.flusher.flush(path, file)?;
        Ok(Copied {
            flusher: self.flusher,
            files: self.files,
            bytes: self.bytes,
        })
    }

    fn open_archive(&mut self, archive: Archive) -> Result<OpenArchive, CloneError> {
        let (root, prefix) = self
            .roots
            .take(archive)
            .ok_or(StreamFault::UnexpectedArchive { archive })?;
        Ok(OpenArchive {
            root,
            prefix,
            is_base: archive == Archive::Base,
            tar: TarReader::new(),
            file: None,
        })
    }

    /// Ends the archive that is open, if one is. The manifest is the last to come.
    fn end_archive(&mut self) -> Result<(), CloneError> {
        match &self.section {
            Section::Beginning => Ok(()),
            Section::Archive(archive) => Ok(archive.tar.finish()?),
            Section::Manifest { .. } => Err(StreamFault::AfterManifest.into()),
        }
    }

    fn take_manifest_data(&mut self, data: &[u8]) -> Result<(), CloneError> {
        let Section::Manifest { reader, path, file } = &mut self.section else {
            return Err(StreamFault::DataBeforeArchive.into());
        };
        file.write_all(data)
            .map_err(|error| CloneError::io("writing", path, error))?;
        let mut items = Vec::new();
        reader.feed(data, &mut items)?;
        for item in items {
            match item {
                ManifestItem::File(listed) => self.inventory.check(listed)?,
                // The system identifier was compared before the copy; the WAL is received up to
                // the end that the server tells when the backup ends.
                ManifestItem::SystemIdentifier(_) | ManifestItem::WalRange(_) => {}
            }
        }
        Ok(())
    }

    fn take_archive_data(&mut self, data: Bytes) -> Result<(), CloneError> {
        let Section::Archive(archive) = &mut self.section else {
            return Err(StreamFault::DataBeforeArchive.into());
        };
        archive.tar.feed(data);
        while let Some(event) = archive.tar.next_event()? {
            match event {
                TarEvent::Entry(entry) => {
                    self.entries += 1;
                    if self.entries > ENTRIES_MAX {
                        return Err(CloneError::TooManyEntries);
                    }
                    archive.begin(entry, &self.staging, &self.inventory)?;
                }
                TarEvent::Data(data) => {
                    archive.write(&data, &mut self.flusher)?;
                    self.counters.add(data.len() as u64);
                    self.bytes += data.len() as u64;
                }
                TarEvent::FileEnd => {
                    let Some(file) = archive.file.take() else {
                        continue;
                    };
                    self.files += 1;
                    self.inventory
                        .add(file.listed_as, file.bytes, file.hasher)?;
                    self.flusher.flush(file.path, file.file)?;
                }
            }
        }
        Ok(())
    }
}

impl OpenArchive {
    fn begin(
        &mut self,
        entry: TarEntry,
        staging: &Staging,
        inventory: &Inventory,
    ) -> Result<(), CloneError> {
        let path = self.root.join(entry.path.as_path());
        match entry.kind {
            TarKind::Directory => staging.create_directory(&path),
            // Links are made at the end, from the plan: until then nothing that the server
            // names can lead through one.
            TarKind::Symlink { .. } if self.is_base && is_tablespace_link(&entry.path) => Ok(()),
            TarKind::Symlink { .. } => Err(StreamFault::UnexpectedLink { path: entry.path }.into()),
            TarKind::File { .. } => {
                let listed_as = match &self.prefix {
                    Some(prefix) => entry.path.below(prefix)?,
                    None => entry.path,
                };
                self.file = Some(OpenFile {
                    file: staging.placement().create_file(&path, entry.mode)?,
                    path,
                    listed_as,
                    hasher: inventory.hasher(),
                    bytes: 0,
                    unflushed_bytes: 0,
                });
                Ok(())
            }
        }
    }

    fn write(&mut self, data: &[u8], flusher: &mut Flusher) -> Result<(), CloneError> {
        let Some(open) = &mut self.file else {
            return Err(StreamFault::DataBeforeArchive.into());
        };
        let failed = |error| CloneError::io("writing", &open.path, error);
        open.hasher.update(data);
        open.file.write_all(data).map_err(failed)?;
        open.bytes += data.len() as u64;
        open.unflushed_bytes += data.len() as u64;
        if open.unflushed_bytes >= FLUSH_BYTES {
            open.unflushed_bytes = 0;
            let file = open.file.try_clone().map_err(failed)?;
            flusher.flush(open.path.clone(), file)?;
        }
        Ok(())
    }
}

/// `pg_tblspc/OID`: the only place where a backup has links.
fn is_tablespace_link(path: &EntryPath) -> bool {
    path.as_bytes()
        .strip_prefix(b"pg_tblspc/")
        .is_some_and(|name| name.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use manada_postgres::Conninfo;

    use super::super::request::{CloneRequest, CloneSlot};
    use super::super::{placement::Placement, staging};
    use super::*;

    /// The header of an entry without contents.
    fn header(path: &str, kind: u8) -> Bytes {
        let mut header = vec![0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000700 ");
        header[124..136].copy_from_slice(b"00000000000 ");
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:07o} ").as_bytes());
        [&b"d"[..], &header].concat().into()
    }

    #[test]
    fn files_without_end_are_refused() {
        let place = tempfile::tempdir().expect("a directory can be made");
        let target = place.path().join("data");
        let placement = Placement::new(false, None).expect("they are ours");
        let staging = staging::examine(&target)
            .and_then(|target| Staging::create(target, placement))
            .expect("the place is free");
        let staging = Arc::new(staging);
        let source = Conninfo::tcp("localhost", 5432, "postgres");
        let request = CloneRequest::new(source, target, CloneSlot::Temporary);
        let plan = TablespacePlan::make(&[], &request, &staging).expect("there are none");
        let mut extraction = Extraction::new(
            &staging,
            &plan,
            ChecksumAlgorithm::Crc32c,
            Flusher::start(),
            Arc::new(Counters::new()),
        );
        extraction
            .take(Bytes::from_static(b"nbase.tar\0\0"))
            .expect("an archive begins");
        extraction.entries = ENTRIES_MAX - 1;
        extraction
            .take(header("one/", b'5'))
            .expect("this one is not too many");
        let refused = extraction.take(header("more/", b'5'));
        assert!(matches!(refused, Err(CloneError::TooManyEntries)));
        drop(extraction);
        drop(staging);
        let left = std::fs::read_dir(place.path()).expect("it is there");
        assert_eq!(left.count(), 0);
    }
}
