//! A place for one server of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_postgres::Secret;
use manada_postgres::initdb::{InitdbError, NewCluster, initdb};
use manada_postgres::os_user::OsUser;
use manada_postgres::process::{RunningServer, StartError, StartOptions, start};
use manada_postgres::programs::ServerPrograms;
use manada_testbed::{Programs, Scratch, Session, free_port};

/// How long the tests wait for a server.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// A directory with a name that wants quoting; servers in it end with the test.
pub(crate) struct Home {
    scratch: Scratch,
    pub(crate) programs: ServerPrograms,
    pub(crate) port: u16,
    password: Secret,
}

impl Home {
    pub(crate) fn new(programs: &Programs) -> Home {
        let home = Home {
            scratch: Scratch::new(),
            programs: programs.as_server_programs(),
            port: free_port(),
            password: Secret::random(),
        };
        fs::create_dir(home.directory()).expect("made");
        home
    }

    pub(crate) fn with_cluster(programs: &Programs) -> Home {
        let home = Home::new(programs);
        home.init("postgres").expect("initdb");
        home
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.scratch.path().join("a ñ 'place'")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory().join("server.log")
    }

    pub(crate) fn init(&self, superuser: &str) -> Result<OsUser, InitdbError> {
        self.init_at(&self.data(), superuser)
    }

    pub(crate) fn init_at(&self, data: &Path, superuser: &str) -> Result<OsUser, InitdbError> {
        self.init_with(data, superuser, Some(1))
    }

    pub(crate) fn init_with(
        &self,
        data_directory: &Path,
        superuser: &str,
        wal_segment_megabytes: Option<u32>,
    ) -> Result<OsUser, InitdbError> {
        let cluster = NewCluster {
            data_directory,
            superuser,
            password: &self.password,
            wal_segment_megabytes,
        };
        initdb(&self.programs, &cluster)
    }

    pub(crate) fn start(&self) -> Result<RunningServer, StartError> {
        self.start_with(&[])
    }

    pub(crate) fn start_with(
        &self,
        settings: &[(&str, &str)],
    ) -> Result<RunningServer, StartError> {
        let port = self.port.to_string();
        let mut all = vec![
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
        ];
        all.extend(settings);
        start(
            &self.programs,
            &StartOptions {
                data_directory: &self.data(),
                settings: &all,
                log_file: &self.log(),
                ready_within: BOUND,
            },
        )
    }

    pub(crate) fn add_setting(&self, line: &str) {
        let path = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&path).expect("readable");
        fs::write(&path, format!("{text}\n{line}\n")).expect("written");
    }

    pub(crate) fn session(&self) -> Session {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .dbname("postgres")
            .password(self.password.reveal());
        Session::connect(&config).expect("connected")
    }
}
