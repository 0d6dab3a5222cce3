//! Real servers archive through `manada wal push` and recover through `manada wal fetch`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use manada_testbed::{Outcome, Programs, Scratch, TestServer, trials, wait_until};

trials![
    what_a_server_archives_another_recovers,
    the_servers_are_told_apart_absence_and_failure,
    a_node_that_does_not_lead_archives_nothing,
    a_standby_starts_and_follows_while_its_archive_is_away,
];

/// The program where the servers' user can run it, and an archive they can write to.
struct Place(Scratch);

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        let place = Place(scratch);
        fs::copy(env!("CARGO_BIN_EXE_manada"), place.manada()).expect("copied");
        fs::create_dir(place.archive()).expect("made");
        for path in [place.manada(), place.archive()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("changed");
        }
        place
    }

    fn manada(&self) -> PathBuf {
        self.0.path().join("manada")
    }

    fn archive(&self) -> PathBuf {
        self.0.path().join("archive")
    }

    /// As `archive_command` or `restore_command`; `words` are the server's own.
    fn command(&self, words: &str) -> String {
        let (manada, archive) = (self.manada(), self.archive());
        format!(
            "{} wal {words} --archive {}",
            manada.display(),
            archive.display()
        )
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(self.manada())
            .args(arguments)
            .output()
            .expect("run")
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp runs").success());
}

fn what_a_server_archives_another_recovers(programs: Programs) -> Outcome {
    let place = Place::new();
    let primary = TestServer::with(&programs)
        .setting("archive_mode", "on")
        .setting("archive_command", place.command("push %p"))
        .start();
    primary.stop();
    let before = place.0.path().join("before");
    copy(&primary.data(), &before);
    primary.start_again();
    primary.query("CREATE TABLE kept AS SELECT 42 AS number");
    let segment = primary.value("SELECT pg_walfile_name(pg_switch_wal())");
    wait_until("the segment is archived", || {
        place.archive().join(&segment).exists()
    });
    assert_eq!(
        primary.value("SELECT failed_count FROM pg_stat_archiver"),
        "0"
    );

    let recovered = TestServer::with(&programs)
        .setting("archive_mode", "off")
        .setting("restore_command", place.command("fetch %f %p"))
        .start_made_by(primary.password(), |data| {
            copy(&before, data);
            fs::remove_dir_all(data.join("pg_wal")).expect("removed");
            copy(&before.join("pg_wal"), &data.join("pg_wal"));
            fs::write(data.join("recovery.signal"), "").expect("written");
        });
    recovered.wait_for("SELECT pg_is_in_recovery()", "f");
    assert_eq!(recovered.value("SELECT number FROM kept"), "42");
    let log = recovered.log();
    assert!(
        log.contains(&format!("restored log file \"{segment}\"")),
        "{log}"
    );
    Ok(())
}

fn the_servers_are_told_apart_absence_and_failure() -> Outcome {
    let place = Place::new();
    let archive = place.archive().display().to_string();
    let segment = "000000010000000000000001";
    let fetch = |arguments: &[&str]| {
        let words = [&["wal", "fetch"], arguments].concat();
        let output = place.run(&words);
        let code = output.status.code();
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = fetch(&[segment, "/nowhere/x", "--archive", &archive]);
    assert_eq!(code, Some(200), "an empty directory proves nothing: {said}");
    assert!(said.contains("no label"), "{said}");
    fs::write(place.archive().join("system_identifier"), "7\n").expect("written");
    let (code, said) = fetch(&[segment, "/nowhere/x", "--archive", &archive]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "proven, and silent");
    fs::write(place.archive().join("00000002.history"), "").expect("written");
    let (code, said) = fetch(&["00000002.history", "/nowhere/x", "--archive", &archive]);
    assert_eq!(code, Some(200), "nowhere to put it: {said}");
    for wrong in [
        &["nonsense", "/nowhere/x", "--archive", &archive][..],
        &[segment, "/nowhere/x"],
        &[
            segment,
            "/nowhere/x",
            "--archive",
            &archive,
            "--no-such-option",
        ],
        &[segment, "/nowhere/x", "--archive", "/no/such/archive"],
    ] {
        let (code, said) = fetch(wrong);
        assert_eq!(code, Some(200), "{wrong:?}: {said}");
    }
    let pushed = place.run(&["wal", "push", "/nowhere/nonsense", "--archive", &archive]);
    assert_eq!(pushed.status.code(), Some(5));
    let wrong = place.run(&["wal", "push"]);
    assert_eq!(wrong.status.code(), Some(2));
    Ok(())
}

fn a_node_that_does_not_lead_archives_nothing() -> Outcome {
    let place = Place::new();
    let home = place.0.path().join("home");
    fs::create_dir(&home).expect("made");
    let command = format!("{} --home {}", place.command("push %p"), home.display());
    let primary = TestServer::with(&Programs::any()?)
        .setting("archive_mode", "on")
        .setting("archive_command", command)
        .start();
    let segment = primary.value("SELECT pg_walfile_name(pg_switch_wal())");
    wait_until("it has tried", || primary.log().contains("exit code 201"));
    primary.restart();
    // Three tries, a second apart, are what a server that stops would wait for.
    assert!(!primary.log().contains("failed too many times"));
    assert!(!place.archive().join(&segment).exists());
    assert_eq!(
        primary.value("SELECT archived_count FROM pg_stat_archiver"),
        "0"
    );
    // As an agent leaves it when it opens the gate.
    fs::write(home.join("archiving"), "").expect("written");
    primary.query("CREATE TABLE more AS SELECT 1 AS number");
    primary.query("SELECT pg_switch_wal()");
    wait_until("the segment is archived", || {
        // The postmaster starts its archiver anew when something wakes it.
        primary.query("SELECT 1");
        place.archive().join(&segment).exists()
    });
    Ok(())
}

fn a_standby_starts_and_follows_while_its_archive_is_away(programs: Programs) -> Outcome {
    let place = Place::new();
    fs::remove_dir(place.archive()).expect("removed");
    let primary = TestServer::start(&programs);
    let standby = TestServer::with(&programs)
        .setting("restore_command", place.command("fetch %f %p"))
        .start_standby_of(&primary, "away");
    primary.query("CREATE TABLE seen AS SELECT 42 AS number");
    wait_until("it follows", || {
        standby
            .try_query("SELECT number FROM seen")
            .is_ok_and(|rows| rows.len() == 1)
    });
    assert!(standby.log().contains("the archive"), "{}", standby.log());
    Ok(())
}
