//! What the tests of cloning share.

use std::path::Path;

use manada_model::SlotName;
use manada_postgres::os_user::OsUser;
use manada_postgres::{Conninfo, Secret};
use manada_testbed::TestServer;
use manada_wal::clone::{self, CloneError, CloneReport, CloneRequest, CloneSlot, ExtraFile};

/// The slot that the tests' clones make.
pub(crate) const SLOT: &str = "clone_slot";

/// What table `t` holds, in a word.
pub(crate) const DIGEST: &str =
    "SELECT count(*) || ' ' || md5(string_agg(md5(t::text), '' ORDER BY id)) FROM t";

/// Makes table `t` of about `mib` MiB.
pub(crate) fn fill(server: &TestServer, mib: u32) {
    server.query(&format!(
        "CREATE TABLE t AS SELECT i AS id, repeat(md5(i::text), 30) AS text \
         FROM generate_series(1, {mib} * 1024) i"
    ));
}

/// How the tests reach a server: TCP, as its superuser.
pub(crate) fn source(server: &TestServer) -> Conninfo {
    source_at(server, server.port())
}

/// The same through another port.
pub(crate) fn source_at(server: &TestServer, port: u16) -> Conninfo {
    Conninfo::tcp("127.0.0.1", port, "postgres")
        .with_password(Secret::new(server.password()))
        .with_application_name("manada_clone_test")
}

pub(crate) fn slot(name: &str) -> SlotName {
    name.parse().expect("a valid slot name")
}

/// A clone from `source` at `target`, on a slot of its own, owned by the user who runs servers.
pub(crate) fn request(source: Conninfo, target: &Path) -> CloneRequest {
    CloneRequest {
        owner: Some(OsUser::for_new_server().expect("somebody runs servers here")),
        ..CloneRequest::new(source, target, CloneSlot::Create(slot(SLOT)))
    }
}

/// The same, to be started as a standby of `server`.
pub(crate) fn standby_request(server: &TestServer, target: &Path) -> CloneRequest {
    let settings = format!(
        "primary_conninfo = 'host=127.0.0.1 port={} user=postgres password={} application_name=s1'\n\
         primary_slot_name = '{SLOT}'\n",
        server.port(),
        server.password()
    );
    CloneRequest {
        configure: Some(Box::new(move |_| {
            Ok(vec![
                ExtraFile {
                    path: "postgresql.auto.conf".to_owned(),
                    contents: settings.into_bytes(),
                },
                ExtraFile {
                    path: "standby.signal".to_owned(),
                    contents: Vec::new(),
                },
            ])
        })),
        ..request(source(server), target)
    }
}

/// A standby of `server` that was cloned from it.
pub(crate) fn cloned_standby(server: &TestServer) -> TestServer {
    TestServer::with(server.programs()).start_made_by(server.password(), |data| {
        run(standby_request(server, data)).expect("the clone succeeds");
    })
}

/// Clones, waiting for the end.
pub(crate) fn run(request: CloneRequest) -> Result<CloneReport, CloneError> {
    block_on(clone::run(request, |_| ()))
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new()
        .expect("a runtime starts")
        .block_on(future)
}

/// What is in a directory, by name.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .expect("the directory can be read")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
