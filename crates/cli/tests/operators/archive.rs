//! One archive for all nodes, through a failover and a switchover.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use manada_herd::{Home, Node, protection};
use manada_testbed::{Outcome, Programs, TestServer, wait_until};
use manada_wal::clone::{self, CloneRequest, CloneSlot, ExtraFile};
use serde_json::json as value;

use crate::herd::Protected;
use crate::typed::{manada, refused};

pub(crate) fn the_archive_goes_on_under_each_new_timeline() -> Outcome {
    let programs = Programs::any()?;
    let place = manada_testbed::Scratch::new();
    let archive = place.path().join("archive");
    fs::create_dir(&archive).expect("made");
    for path in [place.path(), &archive] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("opened");
    }
    let mut protected =
        Protected::start(&programs, &["--archive", archive.to_str().expect("UTF-8")]);
    protected.synchronous("n1");
    protected.counts_on("n1", value!(["n2", "n3"]));
    let herd = &protected.herd;
    let backup = place.path().join("backup");
    back_up(&protected.path("n1"), &protected.path("n2"), &backup);
    herd.sql("n1", "CREATE TABLE kept (number integer)");
    let write = |node: &str, number: u32| {
        let sql = format!("INSERT INTO kept VALUES ({number})");
        protected.herd.sql(node, &sql);
    };
    write("n1", 1);
    let archived = finish_segment(&protected, "n1");
    has(&archive, &archived);

    // The archive is away when the next segments are finished, and when the primary dies in the
    // midst of one.
    let away = place.path().join("away");
    fs::rename(&archive, &away).expect("renamed");
    write("n1", 2);
    let not_archived = [
        finish_segment(&protected, "n1"),
        finish_written_segment(&protected, "n1", 3),
    ];
    write("n1", 4);
    let broken_off = herd.sql("n1", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
    for standby in ["n2", "n3"] {
        wait_until("it has all rows", || {
            herd.try_sql(standby, "SELECT count(*) FROM kept")
                .as_deref()
                == Ok("4")
        });
    }
    protected.lose("n1");
    let second = protected.led_by_another_than("n1");
    fs::rename(&away, &archive).expect("renamed");
    write_when_open(&protected, second, 5);
    let on_the_second = finish_segment(&protected, second);
    for name in not_archived.iter().chain([&on_the_second]) {
        has(&archive, name);
    }
    has(&archive, "00000002.history");
    has(&archive, &format!("{broken_off}.partial"));

    protected.start_agent("n1");
    protected.led_by(second);
    assert!(
        !archive.join(&broken_off).exists(),
        "the old primary has archived WAL that is no part of the history"
    );
    write_when_open(&protected, second, 6);
    let before = copies(&archive);
    let moved = protected.typed("n1", &["switchover", "--to", "n1"]);
    assert_eq!(moved["done"], true, "{moved}");
    protected.led_by("n1");
    write_when_open(&protected, "n1", 7);
    let last = finish_segment(&protected, "n1");
    has(&archive, "00000003.history");
    has(&archive, &last);

    for (name, content) in before {
        assert!(
            fs::read(archive.join(&name)).expect("there") == content,
            "{name} was replaced"
        );
    }
    pushed_twice(&protected, &archive, &last);
    let recovered = recover(&programs, &backup, &archive);
    assert_eq!(
        recovered.value("SELECT string_agg(number::text, ' ' ORDER BY number) FROM kept"),
        "1 2 3 4 5 6 7"
    );
    assert_eq!(
        recovered.value("SELECT timeline_id FROM pg_control_checkpoint()"),
        "4",
        "it has recovered along timeline 3"
    );
    Ok(())
}

/// Tells the segment's name.
fn finish_segment(protected: &Protected, node: &str) -> String {
    let sql = "SELECT pg_walfile_name(pg_switch_wal())";
    protected.herd.sql(node, sql)
}

fn finish_written_segment(protected: &Protected, node: &str, number: u32) -> String {
    let sql = format!("INSERT INTO kept VALUES ({number})");
    protected.herd.sql(node, &sql);
    finish_segment(protected, node)
}

fn write_when_open(protected: &Protected, node: &str, number: u32) {
    let sql = format!("INSERT INTO kept VALUES ({number})");
    wait_until("it takes writes", || {
        protected.herd.try_sql(node, &sql).is_ok()
    });
}

#[track_caller]
fn has(archive: &Path, name: &str) {
    wait_until(&format!("{name} is archived"), || {
        archive.join(name).exists()
    });
}

fn copies(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(archive).expect("there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), fs::read(&path).expect("readable"))
        })
        .collect()
}

/// The same content under a name succeeds, and another is refused.
fn pushed_twice(protected: &Protected, archive: &Path, name: &str) {
    let push = |path: PathBuf| {
        manada(&["wal", "push"])
            .arg(path)
            .arg("--archive")
            .arg(archive)
            .output()
            .expect("manada runs")
    };
    let again = push(protected.path("n1").join("data/pg_wal").join(name));
    assert!(again.status.success(), "{again:?}");
    let changed = protected.herd.scratch.path().join(name);
    let mut content = fs::read(archive.join(name)).expect("readable");
    let end = content.len() - 1;
    content[end] ^= 1;
    fs::write(&changed, content).expect("written");
    let (code, error) = refused(&push(changed));
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("differ from byte"), "{error}");
}

/// A base backup of the primary that recovers from an archive, made as a standby is let in.
fn back_up(primary: &Path, standby: &Path, target: &Path) {
    let open = |home| Node::open(Home::at(home).expect("absolute")).expect("a node");
    let (primary, standby) = (open(primary), open(standby));
    let source = protection::rewind_source(&standby, primary.endpoint());
    let mut request = CloneRequest::new(source, target, CloneSlot::Temporary);
    request.owner = Some(standby.user().expect("a user"));
    request.configure = Some(Box::new(|_| {
        let file = |path: &str, text: &str| ExtraFile {
            path: path.to_owned(),
            contents: text.into(),
        };
        Ok(vec![
            file("postgresql.conf", ""),
            file(
                "pg_hba.conf",
                "local all all trust\nhost all all 127.0.0.1/32 trust\n",
            ),
            file("recovery.signal", ""),
        ])
    }));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let backup = runtime.block_on(clone::run(request, |_| {}));
    backup.expect("a base backup");
}

/// A server that has the backup and the archive, and nothing else.
fn recover(programs: &Programs, backup: &Path, archive: &Path) -> TestServer {
    let fetch = format!(
        "{} wal fetch %f %p --archive {}",
        env!("CARGO_BIN_EXE_manada"),
        archive.display()
    );
    let recovered = TestServer::with(programs)
        .setting("restore_command", fetch)
        .start_made_by("none", |data| {
            let copied = std::process::Command::new("cp")
                .arg("-a")
                .args([backup, data])
                .status();
            assert!(copied.expect("cp runs").success());
        });
    recovered.wait_for("SELECT pg_is_in_recovery()", "f");
    recovered
}
