//! What a server under test shall be like.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use crate::host::Host;
use crate::port::free_port;
use crate::programs::Programs;
use crate::scratch::Scratch;
use crate::server::{StartError, TestServer};
use crate::template::{
    SUPERUSER_PASSWORD, make_data_directory, make_unique_data_directory, who_runs_servers,
};
use crate::tls::ThrowAwayCa;
use crate::tree;

/// How often another port is tried when somebody else was faster.
const PORT_TRIES_MAX: u32 = 10;

/// The port of a server on a host of its own.
const HOST_PORT: u16 = 5432;

/// What a server shall be like; ends with `start` or `start_standby_of`.
#[derive(Debug, Clone)]
#[must_use = "nothing starts before `start`"]
pub struct ServerOptions {
    programs: Programs,
    settings: Vec<(String, String)>,
    access_rules: Vec<String>,
    password: Option<String>,
    tls: bool,
    checksums: bool,
    unique: bool,
    host: Option<Host>,
}

impl ServerOptions {
    pub(crate) fn new(programs: &Programs) -> Self {
        ServerOptions {
            programs: programs.clone(),
            settings: Vec::new(),
            access_rules: Vec::new(),
            password: None,
            tls: false,
            checksums: true,
            unique: false,
            host: None,
        }
    }

    /// A line of `postgresql.conf`; the value is quoted here.
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// A line of `pg_hba.conf`, before the stock ones: the first that fits decides.
    pub fn access_rule(mut self, line: &str) -> Self {
        self.access_rules.push(line.to_owned());
        self
    }

    /// The superuser's password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// With TLS: a certificate for `localhost` and the loopback addresses, by a throw-away CA
    /// whose certificate is at [`TestServer::ca_certificate`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Without data checksums.
    pub fn without_checksums(mut self) -> Self {
        self.checksums = false;
        self
    }

    /// With a system identifier of its own. Other servers of the same version share theirs, as
    /// they are copies of one; this takes an `initdb`.
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// On a host of a network, at its address and on PostgreSQL's own port, 5432. All hosts of
    /// the network may connect, with a password.
    pub fn on(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(self) -> TestServer {
        let server = self.server(SUPERUSER_PASSWORD);
        if self.unique {
            let (programs, data) = (&self.programs, server.data());
            make_unique_data_directory(programs, self.checksums, &data, &server.owner);
        } else {
            make_data_directory(
                &self.programs,
                self.checksums,
                &server.data(),
                &server.owner,
            );
        }
        let mut server = self.launch(server, &[]);
        if let Some(password) = &self.password {
            let literal = password.replace('\'', "''");
            server.query(&format!("ALTER ROLE postgres PASSWORD '{literal}'"));
            server.password.clone_from(password);
        }
        server
    }

    /// Starts it as a standby of `primary`: with a physical slot `name` there, and `name` as its
    /// `application_name`. It is a copy of the running primary's directory with its settings;
    /// only those given here and what is the server's own come anew.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_standby_of(self, primary: &TestServer, name: &str) -> TestServer {
        let server = self.server(primary.password());
        if let Err(error) = copy_running(primary, &server, name) {
            panic!("can't copy the running primary: {error}");
        }
        let passfile = server.directory().join("passfile");
        let line = format!(
            "*:*:*:postgres:{}\n",
            server.password.replace('\\', "\\\\").replace(':', "\\:")
        );
        tree::write_private(&passfile, &line, &server.owner).expect("the directory is ours");
        let conninfo = format!(
            "host={} port={} user=postgres passfile='{}' application_name={name}",
            primary.address(),
            primary.port(),
            passfile.display()
        );
        let own = [
            ("primary_conninfo", conninfo),
            ("primary_slot_name", name.to_owned()),
        ];
        self.launch(server, &own)
    }

    /// Starts it on the data directory that `make` makes at the path it is given. `password` is
    /// its superuser's there.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_made_by(self, password: &str, make: impl FnOnce(&Path)) -> TestServer {
        let server = self.server(password);
        make(&server.data());
        self.launch(server, &[])
    }

    /// The server with its directory, before there are data.
    fn server(&self, password: &str) -> TestServer {
        let scratch = Scratch::new();
        let owner = who_runs_servers();
        owner.own(scratch.path()).expect("the directory is ours");
        TestServer {
            scratch,
            programs: self.programs.clone(),
            owner,
            host: self.host.clone(),
            port: 0,
            password: password.to_owned(),
            postmaster: Mutex::new(None),
        }
    }

    #[track_caller]
    fn launch(&self, mut server: TestServer, own: &[(&str, String)]) -> TestServer {
        let launched = self.try_launch(&mut server, own);
        match launched {
            Ok(()) => server,
            Err(error) => panic!("{error}"),
        }
    }

    fn try_launch(
        &self,
        server: &mut TestServer,
        own: &[(&str, String)],
    ) -> Result<(), StartError> {
        let file = server.data().join("postgresql.conf");
        let base = fs::read_to_string(&file).map_err(StartError::Spawn)?;
        self.write_access_rules(server).map_err(StartError::Spawn)?;
        if self.tls {
            write_certificates(server).map_err(StartError::Spawn)?;
        }
        let mut tries = 0;
        loop {
            server.port = match self.host {
                Some(_) => HOST_PORT,
                None => free_port(),
            };
            tries += 1;
            let text = base.clone() + &self.settings_of(server, own);
            tree::write_private(&file, &text, &server.owner).map_err(StartError::Spawn)?;
            match server.launch() {
                Err(StartError::PortTaken(_)) if tries < PORT_TRIES_MAX => {}
                outcome => return outcome,
            }
        }
    }

    fn settings_of(&self, server: &TestServer, own: &[(&str, String)]) -> String {
        let directory = server.directory().display().to_string();
        let mut text = String::new();
        let mut add = |name: &str, value: &str| {
            text += &format!("{name} = '{}'\n", value.replace('\'', "''"));
        };
        add("port", &server.port.to_string());
        add(
            "listen_addresses",
            if self.host.is_some() {
                "*"
            } else {
                "127.0.0.1"
            },
        );
        add("unix_socket_directories", &directory);
        if self.tls {
            add("ssl", "on");
            add("ssl_cert_file", &format!("{directory}/server.pem"));
            add("ssl_key_file", &format!("{directory}/server.key"));
        }
        for (name, value) in own {
            add(name, value);
        }
        for (name, value) in &self.settings {
            add(name, value);
        }
        text
    }

    fn write_access_rules(&self, server: &TestServer) -> io::Result<()> {
        let file = server.data().join("pg_hba.conf");
        let stock = fs::read_to_string(&file)?;
        let mut text = self.access_rules.join("\n") + "\n" + &stock;
        if self.host.is_some() {
            text += "host all all samenet scram-sha-256\n\
                     host replication all samenet scram-sha-256\n";
        }
        tree::write_private(&file, &text, &server.owner)
    }
}

fn write_certificates(server: &TestServer) -> io::Result<()> {
    let made = ThrowAwayCa::new().map_err(io::Error::other)?;
    let write = |name: &str, text: &str| {
        tree::write_private(&server.directory().join(name), text, &server.owner)
    };
    write("server.pem", &made.certificate_pem)?;
    write("server.key", &made.key_pem)?;
    fs::write(server.ca_certificate(), made.ca_pem)
}

/// Copies the directory of the running `primary` as a base backup does, and makes a standby's.
#[track_caller]
fn copy_running(primary: &TestServer, standby: &TestServer, slot: &str) -> io::Result<()> {
    let session = primary.session();
    session.query(&format!(
        "SELECT pg_create_physical_replication_slot('{slot}', true)"
    ));
    session.query(&format!("SELECT pg_backup_start('{slot}', true)"));
    let data = standby.data();
    tree::copy(&primary.data(), &data, &standby.owner, &|path| {
        let own = ["postmaster.pid", "postmaster.opts", "pg_wal", "pg_replslot"];
        !own.iter().any(|name| path.starts_with(name))
    })?;
    for name in ["pg_wal", "pg_wal/archive_status", "pg_replslot"] {
        tree::make_private(&data.join(name), &standby.owner)?;
    }
    let label = session.value("SELECT labelfile FROM pg_backup_stop(false)");
    tree::write_private(&data.join("backup_label"), &label, &standby.owner)?;
    tree::write_private(&data.join("standby.signal"), "", &standby.owner)
}
