//! An archive of real segments: what goes in comes out, and nothing else does.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use manada_model::SystemIdentifier;
use manada_postgres::control_file::ControlFile;
use manada_testbed::faults::{ReadOnly, SmallDisk};
use manada_testbed::{Outcome, Programs, Scratch, ServerOptions, TestServer, names_in, trials};
use manada_wal::archive::{
    FetchError, Fetched, LabelError, PushError, Pushed, SegmentError, create, fetch, push,
};

trials![
    a_segment_of_every_version_goes_in_and_comes_out,
    other_wal_files_go_in_and_come_out,
    what_is_archived_is_never_replaced,
    what_an_interrupted_push_left_is_taken_over,
    two_pushes_at_once_store_one_file,
    a_file_that_is_not_its_segment_is_refused,
    a_full_or_read_only_archive_keeps_no_half_file,
    absence_has_to_be_proven,
    a_damaged_segment_is_not_delivered,
    an_archive_is_one_clusters,
];

/// A stopped server's directory with a finished segment, and an empty archive.
struct Place {
    scratch: Scratch,
    server: TestServer,
    segment: String,
}

impl Place {
    fn of(programs: &Programs) -> Place {
        let server = server_that_keeps_wal(TestServer::with(programs));
        server.query("CREATE TABLE t AS SELECT 1");
        let segment = server.value("SELECT pg_walfile_name(pg_switch_wal())");
        server.stop();
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("archive")).expect("made");
        Place {
            scratch,
            server,
            segment,
        }
    }

    fn any() -> Result<Place, manada_testbed::Missing> {
        Ok(Place::of(&Programs::any()?))
    }

    fn archive(&self) -> PathBuf {
        self.scratch.path().join("archive")
    }

    fn in_wal(&self, name: &str) -> PathBuf {
        self.server.data().join("pg_wal").join(name)
    }

    fn source(&self) -> PathBuf {
        self.in_wal(&self.segment)
    }

    fn archived(&self) -> PathBuf {
        self.archive().join(&self.segment)
    }

    fn push(&self) -> Result<Pushed, PushError> {
        push(&self.source(), &self.archive())
    }

    /// As the server asks: to a fixed name in its `pg_wal`.
    fn fetch(&self, name: &str) -> Result<Fetched, FetchError> {
        fetch(name, &self.in_wal("RECOVERYXLOG"), &self.archive())
    }
}

/// One whose finished segments stay where they are.
fn server_that_keeps_wal(options: ServerOptions) -> TestServer {
    options.setting("wal_keep_size", "1GB").start()
}

fn a_segment_of_every_version_goes_in_and_comes_out(programs: Programs) -> Outcome {
    let place = Place::of(&programs);
    assert_eq!(place.push().expect("stored"), Pushed::Stored);
    assert_eq!(place.push().expect("the same again"), Pushed::AlreadyThere);
    assert_eq!(
        names_in(place.archive()),
        [place.segment.as_str(), "system_identifier"]
    );
    let fetched = place.fetch(&place.segment).expect("there");
    assert_eq!(fetched, Fetched::Delivered);
    let same = |one: &Path, other: &Path| {
        fs::read(one).expect("readable") == fs::read(other).expect("readable")
    };
    assert!(same(&place.source(), &place.archived()));
    assert!(same(&place.source(), &place.in_wal("RECOVERYXLOG")));
    assert!(!place.in_wal("RECOVERYXLOG.fetching").exists());
    let next = place.fetch("0000000100000000000000FF").expect("an answer");
    assert_eq!(next, Fetched::Absent);
    Ok(())
}

fn other_wal_files_go_in_and_come_out() -> Outcome {
    let place = Place::any()?;
    let partial = format!("{}.partial", place.segment);
    fs::copy(place.source(), place.in_wal(&partial)).expect("copied");
    let backup = format!("{}.00000028.backup", place.segment);
    for (name, text) in [
        ("00000002.history", "1\t0/1\tno\n"),
        (&backup, "START WAL\n"),
    ] {
        fs::write(place.in_wal(name), text).expect("written");
    }
    for name in ["00000002.history", &backup, &partial] {
        let pushed = push(&place.in_wal(name), &place.archive()).expect("stored");
        assert_eq!(pushed, Pushed::Stored, "{name}");
        assert_eq!(place.fetch(name).expect("there"), Fetched::Delivered);
    }
    assert!(matches!(
        push(&place.server.data().join("PG_VERSION"), &place.archive()),
        Err(PushError::Name(_))
    ));
    assert!(matches!(
        place.fetch("../archive/00000002.history"),
        Err(FetchError::Name(_))
    ));
    Ok(())
}

fn what_is_archived_is_never_replaced() -> Outcome {
    let place = Place::any()?;
    place.push().expect("stored");
    // As an old primary would that went on after a failover.
    let before = fs::read(place.archived()).expect("readable");
    let file = File::options()
        .write(true)
        .open(place.source())
        .expect("opened");
    file.write_all_at(b"divergent", 70_000).expect("written");
    let error = place.push().expect_err("it differs");
    assert!(
        matches!(&error, PushError::Differs { first_difference, .. } if (70_000..70_009).contains(first_difference)),
        "{error}"
    );
    for path in [place.source(), place.archived()] {
        assert!(error.to_string().contains(&path.display().to_string()));
    }
    assert_eq!(fs::read(place.archived()).expect("readable"), before);
    Ok(())
}

fn what_an_interrupted_push_left_is_taken_over() -> Outcome {
    let place = Place::any()?;
    let left = place.archive().join(format!(".{}.tmp", place.segment));
    fs::write(&left, vec![7; 20 << 20]).expect("written");
    assert_eq!(
        place
            .fetch(&place.segment)
            .map_err(|error| error.to_string()),
        Err(format!(
            "{} is empty and has no label, so it is no archive: is its file system mounted?",
            place.archive().display()
        )),
        "half a file is not there"
    );
    assert_eq!(place.push().expect("stored"), Pushed::Stored);
    assert!(!left.exists());
    let bytes = fs::metadata(place.archived()).expect("there").len();
    assert_eq!(bytes, fs::metadata(place.source()).expect("there").len());
    Ok(())
}

fn two_pushes_at_once_store_one_file() -> Outcome {
    let place = Place::any()?;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..4).map(|_| scope.spawn(|| place.push())).collect();
        pushes
            .into_iter()
            .map(|push| push.join().expect("no panic"))
            .collect()
    });
    let stored = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Pushed::Stored)))
        .count();
    assert_eq!(stored, 1, "{outcomes:?}");
    for outcome in outcomes {
        match outcome {
            Ok(Pushed::Stored | Pushed::AlreadyThere) => {}
            // The server tries again.
            Err(PushError::Io { source, .. } | PushError::Label(LabelError::Io { source, .. })) => {
                assert_eq!(source.kind(), std::io::ErrorKind::ResourceBusy, "{source}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(
        names_in(place.archive()),
        [place.segment.as_str(), "system_identifier"]
    );
    Ok(())
}

fn a_file_that_is_not_its_segment_is_refused() -> Outcome {
    type IsExpected = fn(SegmentError) -> bool;
    let place = Place::any()?;
    let whole = fs::read(place.source()).expect("readable");
    let later = "000000010000000000000077";
    let cases: [(&str, &[u8], IsExpected); 4] = [
        (later, &whole, |error| {
            matches!(error, SegmentError::Position { .. })
        }),
        (&place.segment, &whole[..whole.len() - 1], |error| {
            matches!(error, SegmentError::Length { .. })
        }),
        (&place.segment, &whole[..10], |error| {
            matches!(error, SegmentError::TooShort { bytes: 10 })
        }),
        (&place.segment, &[0; 8192], |error| {
            matches!(error, SegmentError::NotWal { magic: 0 })
        }),
    ];
    for (name, content, is_expected) in cases {
        fs::write(place.in_wal(name), content).expect("written");
        match push(&place.in_wal(name), &place.archive()) {
            Err(PushError::NotTheSegment { reason, .. }) => {
                assert!(is_expected(reason), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names_in(place.archive()), Vec::<String>::new());
    Ok(())
}

fn a_full_or_read_only_archive_keeps_no_half_file() -> Outcome {
    let place = Place::any()?;
    let small = SmallDisk::mount(place.scratch.path().join("small"), 4)?;
    let error = push(&place.source(), small.path()).expect_err("no room");
    assert!(
        matches!(&error, PushError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
    assert_eq!(names_in(small.path()), ["system_identifier"]);

    create(&place.archive(), SystemIdentifier(7)).expect("made");
    let _read_only = ReadOnly::mount(place.archive())?;
    assert!(
        matches!(place.push(), Err(PushError::Label(_))),
        "another cluster's"
    );
    fs::create_dir(place.scratch.path().join("other")).expect("made");
    let other = place.scratch.path().join("other");
    let _read_only = ReadOnly::mount(&other)?;
    let error = push(&place.source(), &other).expect_err("read-only");
    assert!(
        error.to_string().contains("Read-only file system"),
        "{error}"
    );
    Ok(())
}

fn absence_has_to_be_proven() -> Outcome {
    let place = Place::any()?;
    // An archive whose file system is not mounted: its mount point is there and empty.
    assert!(matches!(
        place.fetch(&place.segment),
        Err(FetchError::NotAnArchive { .. })
    ));
    let missing = place.scratch.path().join("missing");
    assert!(matches!(
        fetch(&place.segment, &place.in_wal("RECOVERYXLOG"), &missing),
        Err(FetchError::Label(LabelError::NoArchive { .. }))
    ));
    assert!(matches!(
        push(&place.source(), &missing),
        Err(PushError::Label(LabelError::NoArchive { .. }))
    ));
    let file = place.scratch.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(fetch(&place.segment, &place.in_wal("RECOVERYXLOG"), &file).is_err());

    // One that another tool fills has no label, but it has WAL.
    fs::write(place.archive().join("00000002.history"), "").expect("written");
    let fetched = place.fetch(&place.segment).expect("an answer");
    assert_eq!(fetched, Fetched::Absent);

    let control = ControlFile::read(&place.server.data()).expect("readable");
    fs::remove_file(place.archive().join("00000002.history")).expect("removed");
    create(&place.archive(), control.system_identifier).expect("made");
    let fetched = place.fetch(&place.segment).expect("an answer");
    assert_eq!(fetched, Fetched::Absent, "a new archive is empty");
    Ok(())
}

fn a_damaged_segment_is_not_delivered() -> Outcome {
    let place = Place::any()?;
    place.push().expect("stored");
    let archived = File::options()
        .write(true)
        .open(place.archived())
        .expect("opened");
    archived.set_len(1_000_000).expect("cut");
    assert!(matches!(
        place.fetch(&place.segment),
        Err(FetchError::NotTheSegment {
            reason: SegmentError::Length { .. },
            ..
        })
    ));
    assert!(!place.in_wal("RECOVERYXLOG").exists());
    Ok(())
}

fn an_archive_is_one_clusters() -> Outcome {
    let programs = Programs::any()?;
    let (place, other) = (
        Place::of(&programs),
        server_that_keeps_wal(TestServer::with(&programs).unique()),
    );
    place.push().expect("stored");
    other.query("CREATE TABLE t AS SELECT 1");
    let segment = other.value("SELECT pg_walfile_name(pg_switch_wal())");
    other.stop();
    let source = other.data().join("pg_wal").join(segment);
    let pushed = push(&source, &place.archive());
    assert!(
        matches!(
            &pushed,
            Err(PushError::Label(LabelError::OtherCluster { .. }))
        ),
        "{pushed:?}"
    );
    assert!(matches!(
        fetch(
            &place.segment,
            &other.data().join("pg_wal/RECOVERYXLOG"),
            &place.archive()
        ),
        Err(FetchError::Label(LabelError::OtherCluster { .. }))
    ));
    // A segment that strayed into another cluster's directory is noticed too.
    fs::remove_file(place.archive().join("system_identifier")).expect("removed");
    fs::copy(&source, place.source()).expect("copied");
    assert!(matches!(
        place.push(),
        Err(PushError::NotTheSegment {
            reason: SegmentError::OtherCluster { .. },
            ..
        })
    ));
    Ok(())
}
