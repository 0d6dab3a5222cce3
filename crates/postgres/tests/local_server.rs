//! One real server through its life: made, started, stopped, and all that can go wrong.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_postgres::Secret;
use manada_postgres::initdb::{InitdbError, NewCluster, initdb};
use manada_postgres::os_user::OsUser;
use manada_postgres::process::{
    Failure, PostmasterStatus, StartError, StartOptions, StopMode, Stopped, running, start, stop,
};
use manada_postgres::programs::{Cache, ServerPrograms, Wanted, find};

const BOUND: Duration = Duration::from_secs(60);

fn programs() -> ServerPrograms {
    let user = OsUser::for_new_server().expect("somebody runs servers");
    let cache = Cache::of_this_user().expect("a cache");
    find(&Wanted::Newest, &user, &cache)
        .expect("a search")
        .programs
        .expect("server programs on this machine")
}

/// A data directory whose server is stopped when the test ends, also when it fails.
struct Home {
    directory: tempfile::TempDir,
    port: u16,
}

impl Home {
    fn new() -> Home {
        let directory = tempfile::Builder::new()
            .prefix("manada test ñ '")
            .tempdir()
            .expect("a directory");
        // The server's user has to reach it.
        fs::set_permissions(
            directory.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .expect("changed");
        Home {
            directory,
            port: free_port(),
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    fn with_cluster() -> Home {
        let home = Home::new();
        home.init("postgres").expect("initdb");
        home
    }

    fn init(&self, superuser: &str) -> Result<OsUser, InitdbError> {
        initdb(
            &programs(),
            &NewCluster {
                data_directory: &self.data(),
                superuser,
                password: &Secret::random(),
                wal_segment_megabytes: Some(1),
            },
        )
    }

    fn start(&self) -> Result<manada_postgres::process::RunningServer, StartError> {
        let port = self.port.to_string();
        start(
            &programs(),
            &StartOptions {
                data_directory: &self.data(),
                settings: &[
                    ("port", &port),
                    ("listen_addresses", "127.0.0.1"),
                    ("unix_socket_directories", ""),
                ],
                log_file: &self.log(),
                ready_within: BOUND,
            },
        )
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = stop(&self.data(), StopMode::Immediate, BOUND)
            && self.data().exists()
        {
            eprintln!("left running: {error}");
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_server_is_made_started_seen_and_stopped() {
    let home = Home::with_cluster();
    assert_eq!(names_in(home.directory.path()), ["data"]);
    assert_eq!(running(&home.data()).expect("an answer"), None);

    let server = home.start().expect("a running server");
    assert_eq!(server.port, home.port);
    assert_eq!(server.status, PostmasterStatus::Ready);
    assert_eq!(
        running(&home.data()).expect("an answer"),
        Some(server.clone())
    );
    let owner = fs::metadata(format!("/proc/{}", server.pid))
        .expect("a process")
        .uid();
    let user = OsUser::of_data_directory(&home.data()).expect("its owner");
    assert_eq!(owner, user.uid());
    assert!(matches!(
        home.start(),
        Err(StartError::AlreadyRunning { .. })
    ));

    let stopped = stop(&home.data(), StopMode::Fast, BOUND).expect("stopped");
    assert!(matches!(stopped, Stopped::After(_)));
    assert_eq!(running(&home.data()).expect("an answer"), None);
    let again = stop(&home.data(), StopMode::Fast, BOUND).expect("nothing to do");
    assert_eq!(again, Stopped::WasNotRunning);
}

#[test]
fn a_server_that_was_killed_starts_again() {
    let home = Home::with_cluster();
    let first = home.start().expect("a running server");
    let pid = rustix::process::Pid::from_raw(first.pid).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let gone = || running(&home.data()).expect("an answer").is_none();
    wait_for(gone);
    assert!(home.data().join("postmaster.pid").exists(), "it is stale");
    // Its children notice and go; until then they hold the shared memory.
    let mut second = home.start();
    wait_for(|| {
        if matches!(
            &second,
            Err(StartError::Ended {
                failure: Failure::SharedMemoryInUse,
                ..
            })
        ) {
            second = home.start();
        }
        second.is_ok()
    });
    assert_ne!(second.expect("running again").pid, first.pid);
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + BOUND;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_taken_port_is_named_as_the_reason() {
    let home = Home::with_cluster();
    let _other = TcpListener::bind(("127.0.0.1", home.port)).expect("taken");
    let error = home.start().expect_err("the port is taken");
    assert!(
        matches!(&error, StartError::Ended { failure: Failure::PortTaken, log_tail, .. } if log_tail.contains("FATAL")),
        "{error}"
    );
    assert_eq!(running(&home.data()).expect("an answer"), None);
}

#[test]
fn a_mistake_in_the_configuration_is_named_as_the_reason() {
    let home = Home::with_cluster();
    let path = home.data().join("postgresql.conf");
    let text = fs::read_to_string(&path).expect("readable");
    fs::write(&path, text + "\nno_such_setting = 1\n").expect("written");
    let error = home.start().expect_err("a mistake");
    assert!(
        matches!(&error, StartError::Ended { failure: Failure::Configuration, log_tail, .. } if log_tail.contains("no_such_setting")),
        "{error}"
    );
}

#[test]
fn what_is_no_data_directory_is_not_started() {
    let home = Home::new();
    fs::create_dir(home.data()).expect("made");
    assert!(matches!(
        home.start(),
        Err(StartError::NoDataDirectory { .. })
    ));
    fs::write(home.data().join("PG_VERSION"), "12\n").expect("written");
    assert!(matches!(
        home.start(),
        Err(StartError::WrongVersion { data_version, .. }) if data_version == "12"
    ));
}

#[test]
fn a_directory_with_anything_in_it_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.data()).expect("made");
    fs::write(home.data().join("mine"), "precious").expect("written");
    assert!(matches!(
        home.init("postgres"),
        Err(InitdbError::NotEmpty { .. })
    ));
    assert_eq!(names_in(&home.data()), ["mine"]);
    assert_eq!(names_in(home.directory.path()), ["data"]);
}

#[test]
fn an_empty_directory_and_a_hostile_name_are_taken() {
    let home = Home::new();
    fs::create_dir(home.data()).expect("made");
    home.init("o; DROP ñ --").expect("initdb");
    home.start().expect("a running server");
}

#[test]
fn a_name_postgresql_refuses_leaves_nothing_behind() {
    let home = Home::new();
    // Within the length that we check; initdb itself refuses it.
    let programs = programs();
    let error = initdb(
        &programs,
        &NewCluster {
            data_directory: &home.data(),
            superuser: "postgres",
            password: &Secret::random(),
            wal_segment_megabytes: Some(3),
        },
    )
    .expect_err("3 is no power of two");
    assert!(
        matches!(&error, InitdbError::Failed { said, .. } if said.contains("power of 2")),
        "{error}"
    );
    assert_eq!(names_in(home.directory.path()), Vec::<String>::new());
}
