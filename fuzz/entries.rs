//! What is done with hostile bytes: by the fuzzer here, and by property tests in
//! `crates/wire/tests`. Each function panics when a promise is broken.

use std::path::{Component, Path};

use bytes::{BufMut, Bytes};
use manada_wire::backend::BackendMessage;
use manada_wire::backup_stream::BackupMessage;
use manada_wire::entry_path::EntryPath;
use manada_wire::frame::{DECODER_BYTES_MAX, DecodeError, Decoder};
use manada_wire::manifest::{ManifestError, ManifestItem, ManifestReader};
use manada_wire::tar::{TarError, TarEvent, TarReader};
use manada_wire::wal_stream::WalMessage;

/// The first byte says how long the chunks are into which the rest is cut.
fn chunked(data: &[u8]) -> (usize, &[u8]) {
    match data {
        [first, rest @ ..] => (usize::from(*first) + 1, rest),
        [] => (1, data),
    }
}

/// Messages come out the same however the bytes are cut, and memory stays within its bound.
pub(crate) fn frames(data: &[u8]) {
    let (chunk_bytes, bytes) = chunked(data);
    let whole = messages(bytes, bytes.len().max(1));
    let cut = messages(bytes, chunk_bytes);
    assert_eq!(whole, cut);
    let (messages, _) = whole;
    for message in messages {
        if let BackendMessage::CopyData(copy_data) = message {
            // Neither may panic; what they say is tested where it has a meaning.
            let _ = BackupMessage::decode(copy_data.clone());
            let _ = WalMessage::decode(copy_data);
        }
    }
}

/// All messages of `bytes`, and how it ended.
pub(crate) fn messages(
    bytes: &[u8],
    chunk_bytes: usize,
) -> (Vec<BackendMessage>, Option<DecodeError>) {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    for chunk in bytes.chunks(chunk_bytes.min(manada_wire::frame::READ_BYTES)) {
        decoder.read_buffer().put_slice(chunk);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(decoder.capacity_bytes() <= DECODER_BYTES_MAX);
    }
    (messages, None)
}

/// Files come out the same however the bytes are cut, and no path leads out.
pub(crate) fn tar(data: &[u8]) {
    let (chunk_bytes, bytes) = chunked(data);
    let whole = tar_events(bytes, bytes.len().max(1));
    let cut = tar_events(bytes, chunk_bytes);
    assert_eq!(whole, cut);
    for event in whole.0 {
        if let TarEvent::Entry(entry) = event {
            assert_plain(&entry.path);
        }
    }
}

/// All events of `bytes`, neighbouring data joined, and how it ended.
pub(crate) fn tar_events(
    bytes: &[u8],
    chunk_bytes: usize,
) -> (Vec<TarEvent>, Result<(), TarError>) {
    let mut reader = TarReader::new();
    let mut events: Vec<TarEvent> = Vec::new();
    for chunk in bytes.chunks(chunk_bytes) {
        reader.feed(Bytes::copy_from_slice(chunk));
        loop {
            match reader.next_event() {
                Ok(Some(TarEvent::Data(data))) => match events.last_mut() {
                    Some(TarEvent::Data(before)) => {
                        *before = [before.as_ref(), data.as_ref()].concat().into();
                    }
                    _ => events.push(TarEvent::Data(data)),
                },
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, reader.finish())
}

/// Entries come out the same however the bytes are cut, and no path leads out.
pub(crate) fn manifest(data: &[u8]) {
    let (chunk_bytes, bytes) = chunked(data);
    let whole = manifest_items(bytes, bytes.len().max(1));
    let cut = manifest_items(bytes, chunk_bytes);
    // What a chunk says before the error in it depends on where it begins.
    assert_eq!(whole.1, cut.1);
    if whole.1.is_ok() {
        assert_eq!(whole.0, cut.0);
    }
    for item in whole.0 {
        if let ManifestItem::File(file) = item {
            assert_plain(&file.path);
        }
    }
}

/// All entries of `bytes`, and how it ended.
pub(crate) fn manifest_items(
    bytes: &[u8],
    chunk_bytes: usize,
) -> (Vec<ManifestItem>, Result<(), ManifestError>) {
    let mut reader = ManifestReader::new();
    let mut items = Vec::new();
    for chunk in bytes.chunks(chunk_bytes) {
        if let Err(error) = reader.feed(chunk, &mut items) {
            return (items, Err(error));
        }
    }
    (items, reader.finish())
}

fn assert_plain(path: &EntryPath) {
    let path: &Path = path.as_path();
    assert!(!path.as_os_str().is_empty());
    for component in path.components() {
        assert!(matches!(component, Component::Normal(_)), "{path:?}");
    }
}
