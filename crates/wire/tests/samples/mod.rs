//! Well-formed bytes, as a server would send them.

use sha2::{Digest, Sha256};

/// One message.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = 4 + body.len() as u32;
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// A file of an archive.
#[derive(Debug, Clone)]
pub(crate) struct TarFile {
    pub(crate) path: String,
    pub(crate) contents: Vec<u8>,
}

/// An archive, written as `tarCreateHeader` in src/port/tar.c does it.
pub(crate) fn tar_archive(files: &[TarFile]) -> Vec<u8> {
    let mut archive = Vec::new();
    for TarFile { path, contents } in files {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000600 ");
        header[124..136].copy_from_slice(format!("{:011o} ", contents.len()).as_bytes());
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[263..265].copy_from_slice(b"00");
        mend_checksum(&mut header);
        archive.extend(header);
        archive.extend(contents);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Gives a header the checksum that it should have.
pub(crate) fn mend_checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:07o} ").as_bytes());
}

/// A manifest of version 2, its checksum right.
pub(crate) fn manifest() -> String {
    with_checksum(
        r#"{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7519893746284652000,
"Files": [
{ "Path": "backup_label", "Size": 1, "Last-Modified": "2026-11-21 20:00:00 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "01020304" },
{ "Encoded-Path": "626173652fff", "Size": 0, "Last-Modified": "2026-11-21 20:00:00 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "00000000" },
{ "Path": "\u00f1\"", "Size": 18446744073709551615, "Last-Modified": "2026-11-21 20:00:00 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }
],
"#,
    )
}

/// The same with a last line that fits what is before it.
pub(crate) fn with_checksum(text: &str) -> String {
    let covered = match text.find("\"Manifest-Checksum\"") {
        Some(last_line) => &text[..last_line],
        None => text,
    };
    let digest = Sha256::digest(covered.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{covered}\"Manifest-Checksum\": \"{hex}\"}}\n")
}
