//! What the tests of cloning share.

use std::path::Path;

use manada_model::SlotName;
use manada_postgres::os_user::OsUser;
use manada_postgres::{Conninfo, Secret};
use manada_testbed::TestServer;
use manada_wal::clone::{self, CloneError, CloneReport, CloneRequest, CloneSlot, ExtraFile};

/// How the tests reach a server: TCP, as its superuser.
pub(crate) fn source(server: &TestServer) -> Conninfo {
    Conninfo::tcp("127.0.0.1", server.port(), "postgres")
        .with_password(Secret::new(server.password()))
        .with_application_name("manada_clone_test")
}

pub(crate) fn slot(name: &str) -> SlotName {
    name.parse().expect("a valid slot name")
}

/// A clone of `server` at `target`, on a slot of its own, owned by the user who runs servers.
pub(crate) fn request(server: &TestServer, target: &Path) -> CloneRequest {
    CloneRequest {
        owner: Some(OsUser::for_new_server().expect("somebody runs servers here")),
        ..CloneRequest::new(
            source(server),
            target,
            CloneSlot::Create(slot("clone_slot")),
        )
    }
}

/// The same, to be started as a standby of `server`.
pub(crate) fn standby_request(server: &TestServer, target: &Path) -> CloneRequest {
    let settings = format!(
        "primary_conninfo = 'host=127.0.0.1 port={} user=postgres password={} application_name=s1'\n\
         primary_slot_name = 'clone_slot'\n",
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
        ..request(server, target)
    }
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
