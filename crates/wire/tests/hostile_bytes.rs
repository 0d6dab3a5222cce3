//! Whatever a server sends: the same messages however it is cut, no panic, bounded memory.

#[path = "../../../fuzz/entries.rs"]
mod entries;
mod samples;

use bytes::{BufMut, BytesMut};
use manada_wire::backend::BackendMessage;
use manada_wire::frame::{DECODER_BYTES_MAX, DecodeError, Decoder, MESSAGE_BYTES_MAX, READ_BYTES};
use manada_wire::manifest::{ManifestError, ManifestItem};
use manada_wire::tar::{TarError, TarEvent, TarKind};
use proptest::collection::vec;
use proptest::prelude::*;
use samples::{TarFile, frame, manifest, tar_archive, with_checksum};

/// Bytes that are often nearly right: valid frames, some of them damaged.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(&b"RvKSZTDCIGHWdcENAx"[..]);
    let one = (kinds, vec(prop_oneof![Just(0), any::<u8>()], 0..60))
        .prop_map(|(kind, body)| frame(kind, &body));
    (vec(one, 0..8), any::<u8>(), vec(any::<u8>(), 0..8)).prop_map(|(frames, chunk, tail)| {
        let mut bytes = vec![chunk];
        bytes.extend(frames.concat());
        bytes.extend(tail);
        bytes
    })
}

fn files() -> impl Strategy<Value = Vec<TarFile>> {
    let path = "[a-z0-9_/.]{1,40}";
    let one =
        (path, vec(any::<u8>(), 0..1500)).prop_map(|(path, contents)| TarFile { path, contents });
    vec(one, 0..6)
}

proptest! {
    #[test]
    fn frames_are_the_same_however_they_are_cut(bytes in nearly_frames()) {
        entries::frames(&bytes);
    }

    #[test]
    fn random_bytes_are_no_danger(bytes in vec(any::<u8>(), 0..2000)) {
        entries::frames(&bytes);
        entries::tar(&bytes);
        entries::manifest(&bytes);
    }

    #[test]
    fn archives_are_the_same_however_they_are_cut(files in files(), chunk in 0u8..) {
        let mut bytes = vec![chunk];
        bytes.extend(tar_archive(&files));
        entries::tar(&bytes);
    }

    #[test]
    fn a_damaged_archive_is_no_danger(
        files in files(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = tar_archive(&files);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        entries::tar(&bytes);
    }

    #[test]
    fn a_damaged_manifest_is_no_danger(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        chunk in 0u8..,
    ) {
        let mut bytes = vec![chunk];
        bytes.extend(manifest().into_bytes());
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        entries::manifest(&bytes);
    }
}

#[test]
fn a_message_of_any_length_is_refused_by_its_header() {
    for bytes in [MESSAGE_BYTES_MAX as u32 + 1, u32::MAX, 1 << 31] {
        let mut decoder = Decoder::new();
        let mut header = BytesMut::from(&b"d"[..]);
        header.put_u32(bytes);
        decoder.feed(&header);
        let refused = DecodeError::MessageTooLong { kind: 'd', bytes };
        assert_eq!(decoder.next_message(), Err(refused));
    }
    let mut decoder = Decoder::new();
    decoder.feed(b"d\0\0\0\x03");
    let refused = DecodeError::MessageTooShort {
        kind: 'd',
        bytes: 3,
    };
    assert_eq!(decoder.next_message(), Err(refused));
}

#[test]
fn all_fields_of_an_error_are_read() {
    let body = b"SFEHLER\0VERROR\0C42P01\0Mno table\0Dd\0Hh\0P1\0p2\0qq\0Ww\0ss\0tt\0cc\0dd\0nn\0Ff\0L3\0Rr\0zunknown\0\0";
    let (messages, error) = entries::messages(&frame(b'E', body), 7);
    assert_eq!(error, None);
    let [BackendMessage::ErrorResponse(said)] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(said.to_string(), "ERROR: no table (42P01); d; h");
    let fields = [
        &said.position,
        &said.internal_position,
        &said.internal_query,
        &said.context,
        &said.schema,
        &said.table,
        &said.column,
        &said.data_type,
        &said.constraint,
        &said.file,
        &said.line,
        &said.routine,
    ];
    let texts: Vec<&str> = fields.into_iter().flatten().map(String::as_str).collect();
    assert_eq!(texts.concat(), "12qwstcdnf3r");
}

#[test]
fn a_row_keeps_nulls_apart_from_empty_texts() {
    let body = b"\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x02ab";
    let (messages, _) = entries::messages(&frame(b'D', body), 1);
    let [BackendMessage::DataRow(row)] = &messages[..] else {
        panic!("{messages:?}");
    };
    let lengths: Vec<_> = row
        .values
        .iter()
        .map(|value| value.as_ref().map(|v| v.len()))
        .collect();
    assert_eq!(lengths, [None, Some(0), Some(2)]);
}

#[test]
fn an_archive_gives_back_what_was_put_in() {
    let contents = vec![7; 1000];
    let files = [
        TarFile {
            path: "base/1/2".into(),
            contents: contents.clone(),
        },
        TarFile {
            path: "./empty".into(),
            contents: Vec::new(),
        },
    ];
    let (events, end) = entries::tar_events(&tar_archive(&files), 100);
    assert_eq!(end, Ok(()));
    let [
        TarEvent::Entry(first),
        TarEvent::Data(data),
        TarEvent::FileEnd,
        TarEvent::Entry(second),
        TarEvent::FileEnd,
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(first.path.as_bytes(), b"base/1/2");
    assert_eq!(
        (first.mode, &first.kind),
        (0o600, &TarKind::File { bytes: 1000 })
    );
    assert_eq!(data, &contents);
    assert_eq!(second.path.as_bytes(), b"empty");
}

#[test]
fn archives_that_no_server_writes_are_refused() {
    let file = |path: &str| TarFile {
        path: path.into(),
        contents: b"x".to_vec(),
    };
    let refused = |bytes: &[u8]| {
        entries::tar_events(bytes, 512)
            .1
            .expect_err("it is refused")
    };
    for path in ["/etc/passwd", "../x", "a/../../x", "a//b"] {
        let error = refused(&tar_archive(&[file(path)]));
        assert!(
            matches!(error, TarError::UnsafePath(_)),
            "{path}: {error:?}"
        );
    }
    // Hard link, device, pipe, pax header, GNU long name.
    for kind in *b"1346xLK" {
        let mut bytes = tar_archive(&[file("a")]);
        bytes[156] = kind;
        samples::mend_checksum(&mut bytes[..512]);
        assert!(matches!(refused(&bytes), TarError::UnsupportedKind { .. }));
    }
    let mut directory = tar_archive(&[file("a")]);
    directory[156] = b'5';
    samples::mend_checksum(&mut directory[..512]);
    assert!(matches!(
        refused(&directory),
        TarError::ContentsOfNoFile { bytes: 1, .. }
    ));
    let whole = tar_archive(&[file("a")]);
    assert_eq!(refused(&whole[..whole.len() - 512]), TarError::Truncated);
    assert_eq!(refused(&[&whole[..], &whole].concat()), TarError::AfterEnd);
    let mut damaged = whole;
    damaged[1] = b'b';
    assert_eq!(refused(&damaged), TarError::HeaderChecksum);
}

#[test]
fn a_size_beyond_8_gib_is_read() {
    let mut bytes = tar_archive(&[TarFile {
        path: "big".into(),
        contents: Vec::new(),
    }]);
    bytes[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
    samples::mend_checksum(&mut bytes[..512]);
    let (events, _) = entries::tar_events(&bytes[..512], 512);
    let [TarEvent::Entry(entry)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        entry.kind,
        TarKind::File {
            bytes: (2 << 32) + 1
        }
    );
}

#[test]
fn a_manifest_gives_its_files_and_wal() {
    let (items, end) = entries::manifest_items(manifest().as_bytes(), 9);
    assert_eq!(end, Ok(()));
    let paths: Vec<&[u8]> = items
        .iter()
        .filter_map(|item| match item {
            ManifestItem::File(file) => Some(file.path.as_bytes()),
            ManifestItem::SystemIdentifier(_) | ManifestItem::WalRange(_) => None,
        })
        .collect();
    assert_eq!(
        paths,
        [&b"backup_label"[..], b"base/\xff", "ñ\"".as_bytes()]
    );
    assert_eq!(items.len(), 5);
}

#[test]
fn manifests_that_postgresql_does_not_write_are_refused() {
    let refused = |text: &str| {
        entries::manifest_items(text.as_bytes(), 64)
            .1
            .expect_err("refused")
    };
    let changed = |from: &str, to: &str| {
        let text = manifest();
        assert!(text.contains(from), "{from}");
        with_checksum(&text.replace(from, to))
    };
    for (from, to, field) in [
        ("\"Size\": 1, ", "", "Size"),
        (", \"Checksum\": \"01020304\"", "", "Checksum"),
        (
            ", \"Checksum-Algorithm\": \"CRC32C\"",
            "",
            "Checksum-Algorithm",
        ),
    ] {
        assert_eq!(
            refused(&changed(from, to)),
            ManifestError::MissingField { field }
        );
    }
    for (from, to, field) in [
        ("\"Size\": 1,", "\"Size\": -1,", "Size"),
        ("\"01020304\"", "\"010203\"", "Checksum"),
        ("CRC32C", "MD5", "Checksum-Algorithm"),
        ("626173652fff", "626173652ff", "Encoded-Path"),
        ("0/2000028", "here", "Start-LSN"),
    ] {
        assert_eq!(
            refused(&changed(from, to)),
            ManifestError::MalformedValue { field }
        );
    }
    assert_eq!(
        refused(&changed("\"Size\": 1,", "\"Size\": 1, \"Size\": 1,")),
        ManifestError::RepeatedField { field: "Size" }
    );
    assert!(matches!(
        refused(&changed("Version\": 2", "Version\": 3")),
        ManifestError::UnknownVersion { .. }
    ));
    assert!(matches!(
        refused(&changed("backup_label", "../backup_label")),
        ManifestError::UnsafePath(_)
    ));
    assert!(matches!(
        refused(&changed(
            "\"Timeline\": 1,",
            "\"Timeline\": 1, \"Colour\": 1,"
        )),
        ManifestError::UnknownField { .. }
    ));
    // A changed manifest whose checksum was left as it was.
    let changed = manifest().replace("\"Size\": 1,", "\"Size\": 2,");
    assert_eq!(refused(&changed), ManifestError::OwnChecksum);
    let text = manifest();
    assert_eq!(refused(&text[..text.len() - 2]), ManifestError::Truncated);
}

#[test]
fn the_longest_message_that_never_ends_takes_no_more_than_the_bound() {
    let mut decoder = Decoder::new();
    let mut bytes = BytesMut::from(&b"d"[..]);
    bytes.put_u32(MESSAGE_BYTES_MAX as u32);
    bytes.resize(MESSAGE_BYTES_MAX, 0);
    for chunk in bytes.chunks(READ_BYTES) {
        decoder.read_buffer().put_slice(chunk);
        assert_eq!(decoder.next_message(), Ok(None));
        assert!(decoder.capacity_bytes() <= DECODER_BYTES_MAX);
    }
}
