//! Where a clone may go, and whose it is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use manada_model::SystemIdentifier;
use manada_postgres::os_user::OsUser;
use manada_testbed::{Outcome, Programs, Scratch, TestServer};
use manada_wal::clone::{CloneError, CloneRequest};

use crate::fixture::{names_in, request, run, source};

pub(crate) fn a_place_that_is_taken_is_refused() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let place = Scratch::new();
    let attempt = |path: &Path| run(request(source(&server), path)).expect_err("it is refused");

    let file = place.path().join("file");
    fs::write(&file, "").expect("it can be written");
    assert!(matches!(
        attempt(&file),
        CloneError::TargetNotDirectory { .. }
    ));

    let full = place.path().join("full");
    fs::create_dir(&full).expect("it can be made");
    fs::write(full.join("precious"), "").expect("it can be written");
    assert!(matches!(attempt(&full), CloneError::TargetNotEmpty { .. }));
    assert!(full.join("precious").exists());

    let orphan = place.path().join("not/there");
    assert!(matches!(attempt(&orphan), CloneError::ParentMissing { .. }));
    assert!(matches!(
        attempt(Path::new("/proc")),
        CloneError::TargetNotEmpty { .. }
    ));

    // An empty directory is as good as none, also behind a link.
    let empty = place.path().join("empty");
    fs::create_dir(&empty).expect("it can be made");
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&empty, &link).expect("it can be made");
    run(request(source(&server), &link)).expect("the clone succeeds");
    assert!(empty.join("PG_VERSION").exists());
    assert!(link.is_symlink());
    assert_eq!(names_in(place.path()), ["empty", "file", "full", "link"]);
    Ok(())
}

pub(crate) fn another_cluster_is_refused() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let place = Scratch::new();
    let request = CloneRequest {
        system_identifier: Some(SystemIdentifier(1)),
        ..request(source(&server), &place.path().join("data"))
    };
    let refused = run(request).expect_err("it is refused");
    assert!(
        matches!(refused, CloneError::OtherCluster { .. }),
        "{refused}"
    );
    assert_eq!(
        server.value("SELECT count(*) FROM pg_replication_slots"),
        "0"
    );
    Ok(())
}

pub(crate) fn a_clone_belongs_to_the_user_of_servers() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    let place = Scratch::new();
    let target = place.path().join("data");
    run(request(source(&server), &target)).expect("the clone succeeds");
    let owner = OsUser::for_new_server().expect("somebody runs servers here");
    let seen = walk(&target, &mut |path, metadata| {
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (owner.uid(), owner.gid()),
            "{path:?}"
        );
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{path:?}");
    });
    assert!(seen > 500);
    Ok(())
}

pub(crate) fn a_source_with_group_access_gives_a_clone_with_it() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    server.stop();
    walk(&server.data(), &mut |path, metadata| {
        let mode = if metadata.is_dir() { 0o750 } else { 0o640 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("we may");
    });
    server.start_again();
    let place = Scratch::new();
    let target = place.path().join("data");
    run(request(source(&server), &target)).expect("the clone succeeds");
    walk(&target, &mut |path, metadata| {
        let expected = if metadata.is_dir() { 0o750 } else { 0o640 };
        assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{path:?}");
    });
    Ok(())
}

/// Shows a directory and all below it; returns how many.
fn walk(path: &Path, look: &mut impl FnMut(&Path, &fs::Metadata)) -> usize {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    look(path, &metadata);
    if !metadata.is_dir() {
        return 1;
    }
    let below: usize = names_in(path)
        .iter()
        .map(|name| walk(&path.join(name), look))
        .sum();
    below + 1
}
