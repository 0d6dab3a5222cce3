//! Tablespaces: mapped, refused aloud, or in place.

use std::fs;
use std::path::PathBuf;

use manada_postgres::os_user::OsUser;
use manada_testbed::{Outcome, Programs, Scratch, TestServer};
use manada_wal::clone::{CloneError, CloneRequest, TablespaceFault, TablespaceMapping};

use crate::fixture::{DIGEST, names_in, request, run, source, standby_request};

/// A server whose table `t` is in a tablespace at the returned path.
fn server_with_tablespace(programs: &Programs) -> (TestServer, PathBuf) {
    let server = TestServer::start(programs);
    let location = server.directory().join("space");
    let owner = OsUser::for_new_server().expect("somebody runs servers here");
    owner
        .create_private_directory(&location)
        .expect("it can be made");
    server.query(&format!(
        "CREATE TABLESPACE space LOCATION '{}'",
        location.display()
    ));
    server.query(
        "CREATE TABLE t TABLESPACE space AS SELECT i AS id, md5(i::text) AS text \
         FROM generate_series(1, 10000) i",
    );
    (server, location)
}

pub(crate) fn tablespaces_are_mapped(programs: Programs) -> Outcome {
    let (server, location) = server_with_tablespace(&programs);
    let place = Scratch::new();
    let mapped = place.path().join("mapped");
    let standby = TestServer::with(&programs).start_made_by(server.password(), |data| {
        let request = CloneRequest {
            tablespaces: vec![TablespaceMapping {
                from: location.clone(),
                to: mapped.clone(),
            }],
            ..standby_request(&server, data)
        };
        run(request).expect("the clone succeeds");
    });
    assert_eq!(names_in(place.path()), ["mapped"]);
    let told = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'";
    assert_eq!(standby.value(told), mapped.display().to_string());
    server.query("DELETE FROM t WHERE id < 100");
    let expected = server.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    Ok(())
}

pub(crate) fn a_tablespace_that_is_not_mapped_here_is_refused() -> Outcome {
    let (server, location) = server_with_tablespace(&Programs::any()?);
    let place = Scratch::new();
    let target = place.path().join("data");
    let attempt = |tablespaces| {
        let request = CloneRequest {
            tablespaces,
            ..request(source(&server), &target)
        };
        match run(request) {
            Err(CloneError::Tablespace { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    };
    let to = |from: &str, to: PathBuf| {
        vec![TablespaceMapping {
            from: from.into(),
            to,
        }]
    };
    let here = location.display().to_string();
    let free = place.path().join("free");
    assert_eq!(attempt(Vec::new()), TablespaceFault::Taken);
    assert_eq!(
        attempt(to(&here, "relative".into())),
        TablespaceFault::NotAbsolute
    );
    assert_eq!(attempt(to("/nowhere", free)), TablespaceFault::NotThere);
    assert_eq!(
        attempt(to(&here, target.join("in"))),
        TablespaceFault::Nested
    );
    assert_eq!(names_in(place.path()), Vec::<String>::new());
    assert!(
        fs::read_dir(&location)
            .expect("it is there")
            .next()
            .is_some()
    );
    Ok(())
}

pub(crate) fn a_tablespace_in_place_is_cloned(programs: Programs) -> Outcome {
    let server = TestServer::with(&programs)
        .setting("allow_in_place_tablespaces", "on")
        .start();
    server.query("CREATE TABLESPACE space LOCATION ''");
    server.query(
        "CREATE TABLE t TABLESPACE space AS SELECT i AS id, md5(i::text) AS text \
         FROM generate_series(1, 10000) i",
    );
    let standby = crate::fixture::cloned_standby(&server);
    let expected = server.value(DIGEST);
    standby.wait_for(DIGEST, &expected);
    Ok(())
}
