//! A server that means harm: nothing is written outside of the target, nothing grows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use manada_postgres::Conninfo;
use manada_testbed::{Outcome, Scratch};
use manada_wal::clone::{CloneError, CloneRequest, CloneSlot, FileFault};
use manada_wire::frame::DecodeError;
use manada_wire::tar::TarError;

use crate::fixture::{names_in, run};
use crate::samples::{TarFile, frame, manifest, mend_checksum, tar_archive, with_checksum};

/// A walsender that answers as a real one would, but for its backup: those messages are sent raw.
struct HostileServer {
    port: u16,
}

impl HostileServer {
    fn start(backup: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let backup = backup.clone();
                // A client that has had enough hangs up, which ends the thread.
                thread::spawn(move || serve(client, &backup));
            }
        });
        HostileServer { port }
    }

    /// Clones from it; returns the error, and what is left in the directory around the target.
    fn attack(backup: Vec<Vec<u8>>) -> (CloneError, Vec<String>) {
        let server = HostileServer::start(backup);
        let place = Scratch::new();
        let source = Conninfo::tcp("127.0.0.1", server.port, "postgres").with_ssl(
            manada_postgres::conninfo::SslParameters {
                mode: manada_postgres::conninfo::SslMode::Disable,
                ..Default::default()
            },
        );
        let target = place.path().join("in/data");
        std::fs::create_dir(place.path().join("in")).expect("it can be made");
        let error = run(CloneRequest::new(source, target, CloneSlot::Temporary));
        let error = error.expect_err("a hostile server is refused");
        let mut left = names_in(place.path());
        left.extend(names_in(&place.path().join("in")));
        (error, left)
    }
}

fn serve(mut client: TcpStream, backup: &[Vec<u8>]) -> std::io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut startup)?;
    client.write_all(&frame(b'R', &[0; 4]))?;
    client.write_all(&frame(b'Z', b"I"))?;
    loop {
        let mut header = [0; 5];
        client.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body)?;
        let command = String::from_utf8_lossy(&body).into_owned();
        let said = match header[0] {
            b'Q' => answer(&command, backup),
            _ => continue,
        };
        for message in said {
            client.write_all(&message)?;
        }
    }
}

fn answer(command: &str, backup: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let done = || vec![frame(b'C', b"DONE\0"), frame(b'Z', b"I")];
    let answered = |values: &[&str]| [vec![row(values)], done()].concat();
    let shown = [
        ("server_version_num", "150018"),
        ("wal_segment_size", "16MB"),
        ("data_directory_mode", "0700"),
        ("synchronous_standby_names", ""),
    ];
    if let Some((_, value)) = shown.iter().find(|(name, _)| command.contains(name)) {
        return answered(&[value]);
    }
    if command.starts_with("IDENTIFY_SYSTEM") {
        return answered(&["7519893746284652000", "1", "0/3000000", ""]);
    }
    if command.starts_with("CREATE_REPLICATION_SLOT") {
        return answered(&["slot", "0/2000028", "", ""]);
    }
    if command.starts_with("START_REPLICATION") {
        return vec![frame(b'W', &[0, 0, 0])];
    }
    assert!(command.starts_with("BASE_BACKUP"), "{command}");
    let begin = vec![
        row(&["0/2000028", "1"]),
        frame(b'C', b"SELECT\0"),
        frame(b'C', b"SELECT\0"),
        frame(b'H', &[0, 0, 0]),
    ];
    let end = vec![
        frame(b'c', b""),
        row(&["0/2000100", "1"]),
        frame(b'C', b"SELECT\0"),
        frame(b'Z', b"I"),
    ];
    [begin, backup.to_vec(), end].concat()
}

fn row(values: &[&str]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.as_bytes());
    }
    frame(b'D', &body)
}

fn base_archive(archive: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = vec![frame(b'd', b"nbase.tar\0\0")];
    messages.extend(archive.chunks(4096).map(data));
    messages
}

fn data(bytes: &[u8]) -> Vec<u8> {
    frame(b'd', &[&b"d"[..], bytes].concat())
}

fn with_manifest(mut messages: Vec<Vec<u8>>, manifest: &str) -> Vec<Vec<u8>> {
    messages.push(frame(b'd', b"m"));
    messages.push(data(manifest.as_bytes()));
    messages
}

fn file(path: &str) -> TarFile {
    TarFile {
        path: path.to_owned(),
        contents: b"harm".to_vec(),
    }
}

pub(crate) fn a_path_that_leads_out_is_refused() -> Outcome {
    for path in [
        "../out",
        "/tmp/manada-out",
        "base/../../../out",
        "..",
        "a/./b",
    ] {
        let (error, left) = HostileServer::attack(base_archive(&tar_archive(&[file(path)])));
        assert!(
            matches!(error, CloneError::Tar(TarError::UnsafePath(_))),
            "{path}: {error}"
        );
        assert_eq!(left, ["in"], "{path}");
    }
    let tablespace = vec![frame(b'd', b"n16384.tar\0/etc\0")];
    let (error, _) = HostileServer::attack(tablespace);
    assert!(matches!(error, CloneError::Stream(_)), "{error}");
    Ok(())
}

/// A link to anywhere, then a file through it.
pub(crate) fn links_lead_nowhere() -> Outcome {
    for link in ["pg_tblspc/16384", "base"] {
        let mut archive = tar_archive(&[file(link), file(&format!("{link}/out"))]);
        archive[124..136].copy_from_slice(b"00000000000 ");
        archive[156] = b'2';
        archive[157..161].copy_from_slice(b"/tmp");
        mend_checksum(&mut archive[..512]);
        archive.drain(512..1024);
        let (error, left) = HostileServer::attack(base_archive(&archive));
        let refused = match link {
            "base" => matches!(error, CloneError::Stream(_)),
            _ => matches!(error, CloneError::Io { .. }),
        };
        assert!(refused, "{link}: {error}");
        assert_eq!(left, ["in"]);
        assert!(!std::path::Path::new("/tmp/out").exists());
    }
    Ok(())
}

pub(crate) fn a_message_without_end_is_refused() -> Outcome {
    let (error, left) = HostileServer::attack(vec![b"d\x7f\xff\xff\xff".to_vec()]);
    let CloneError::Replication(manada_wal::replication::ReplicationError::Protocol {
        source, ..
    }) = &error
    else {
        panic!("{error}");
    };
    assert!(
        matches!(source, DecodeError::MessageTooLong { .. }),
        "{error}"
    );
    assert_eq!(left, ["in"]);
    Ok(())
}

pub(crate) fn a_server_that_lies_about_sizes_is_refused() -> Outcome {
    // Announces 8 GiB more than it sends; then less.
    for size in [&b"77777777777 "[..], b"00000000001 "] {
        let mut archive = tar_archive(&[file("liar")]);
        archive[124..136].copy_from_slice(size);
        mend_checksum(&mut archive[..512]);
        let backup = with_manifest(base_archive(&archive), &manifest());
        let (error, left) = HostileServer::attack(backup);
        let refused = matches!(
            error,
            CloneError::Tar(TarError::Truncated)
                | CloneError::File {
                    fault: FileFault::Missing,
                    ..
                }
        );
        assert!(refused, "{error}");
        assert_eq!(left, ["in"]);
    }
    Ok(())
}

pub(crate) fn a_file_that_comes_twice_is_refused() -> Outcome {
    let archive = tar_archive(&[file("twice"), file("twice")]);
    let (error, left) = HostileServer::attack(base_archive(&archive));
    assert!(matches!(error, CloneError::Io { .. }), "{error}");
    assert_eq!(left, ["in"]);
    Ok(())
}

pub(crate) fn what_the_manifest_does_not_list_is_refused() -> Outcome {
    let no_files = with_checksum(
        "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [ ],\n\"WAL-Ranges\": [ ],\n",
    );
    let archive = tar_archive(&[file("stowaway")]);
    let (error, _) = HostileServer::attack(with_manifest(base_archive(&archive), &no_files));
    let CloneError::File { path, fault } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (path.as_bytes(), fault),
        (&b"stowaway"[..], FileFault::Unlisted)
    );
    let (error, _) = HostileServer::attack(base_archive(&archive));
    assert!(matches!(error, CloneError::Stream(_)), "{error}");
    Ok(())
}
