//! Where a server is and how to talk to it: libpq's connection parameters.
//!
//! Source: PostgreSQL manual, "Database Connection Control Functions".

mod environment;
mod parse;
mod passfile;

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::Secret;

pub use environment::Environment;
pub use parse::ConninfoError;
pub(crate) use parse::keyword_value;

/// PostgreSQL's port where none is said.
pub const DEFAULT_PORT: u16 = 5432;

/// How long one connection attempt may take where `connect_timeout` does not say it. Shorter than
/// libpq's (which waits for ever): nothing in Manada hangs on a dead host.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Everything needed to reach one of several servers as one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conninfo {
    /// The servers, in the order in which they are to be tried. Never empty once parsed.
    pub endpoints: Vec<Endpoint>,
    /// The role to log in as.
    pub user: String,
    /// The database; the role's name where it is `None`, as in libpq.
    pub dbname: Option<String>,
    /// The password, where it was given; else `passfile` is read.
    pub password: Option<Secret>,
    /// A file in the format of `.pgpass`.
    pub passfile: Option<PathBuf>,
    /// What TLS must prove.
    pub ssl: SslParameters,
    /// `application_name`: what `pg_stat_replication` and a synchronous policy know us by.
    pub application_name: Option<String>,
    /// The limit of one attempt at one endpoint, TLS and authentication included.
    pub connect_timeout: Duration,
    /// `options`: settings of the session, such as `-c statement_timeout=5s`.
    pub options: Option<String>,
}

/// One server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host's name or the socket's directory.
    pub host: Host,
    /// The address to connect to where it is known; `host` then only names the server to TLS.
    pub hostaddr: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A host as libpq understands `host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name or an address, over TCP.
    Tcp(String),
    /// The directory of a Unix socket; one that begins with `@` lies in the abstract namespace.
    Unix(PathBuf),
}

/// What TLS must prove, in libpq's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SslParameters {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`: whom to believe.
    pub root: RootCertificate,
    /// `sslcert` and `sslkey`: who we are, in PEM files.
    pub client: Option<ClientCertificate>,
}

/// `sslmode`. (`allow` reads as `prefer`: TLS is taken where it is offered.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS where the server offers it; nothing is proven.
    #[default]
    Prefer,
    /// TLS, and nothing proven but, where a root certificate is given, as `verify-ca`.
    Require,
    /// TLS, and the certificate was issued by `root`.
    VerifyCa,
    /// As `verify-ca`, and the certificate names the host.
    VerifyFull,
}

/// Whom to believe about a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RootCertificate {
    /// `~/.postgresql/root.crt` where it exists.
    #[default]
    Default,
    /// The operating system's authorities.
    System,
    /// The certificates in this PEM file.
    File(PathBuf),
    /// The authority whose certificate has this SHA-256, wherever the server gets it from: it must
    /// send it along. This is how a join token names the herd's authority.
    Fingerprint([u8; 32]),
}

/// A client's certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate (chain), PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Conninfo {
    /// A connection to one server over TCP as `user`, with libpq's defaults for the rest.
    pub fn tcp(host: impl Into<String>, port: u16, user: impl Into<String>) -> Conninfo {
        Conninfo::at(Endpoint::tcp(host, port), user)
    }

    /// A connection through the Unix socket in `directory`.
    pub fn unix(directory: impl Into<PathBuf>, port: u16, user: impl Into<String>) -> Conninfo {
        let endpoint = Endpoint {
            host: Host::Unix(directory.into()),
            hostaddr: None,
            port,
        };
        Conninfo::at(endpoint, user)
    }

    /// A connection to one endpoint.
    pub fn at(endpoint: Endpoint, user: impl Into<String>) -> Conninfo {
        Conninfo {
            endpoints: vec![endpoint],
            user: user.into(),
            dbname: None,
            password: None,
            passfile: None,
            ssl: SslParameters::default(),
            application_name: None,
            connect_timeout: CONNECT_TIMEOUT,
            options: None,
        }
    }

    /// The same, for one endpoint only: a herd's nodes are asked one by one.
    pub fn for_endpoint(&self, endpoint: Endpoint) -> Conninfo {
        Conninfo {
            endpoints: vec![endpoint],
            ..self.clone()
        }
    }

    /// The same for another database.
    pub fn with_dbname(mut self, dbname: impl Into<String>) -> Conninfo {
        self.dbname = Some(dbname.into());
        self
    }

    /// The same with a password.
    pub fn with_password(mut self, password: Secret) -> Conninfo {
        self.password = Some(password);
        self
    }

    /// The same with a password file.
    pub fn with_passfile(mut self, passfile: impl Into<PathBuf>) -> Conninfo {
        self.passfile = Some(passfile.into());
        self
    }

    /// The same with other TLS parameters.
    pub fn with_ssl(mut self, ssl: SslParameters) -> Conninfo {
        self.ssl = ssl;
        self
    }

    /// The same under an `application_name`.
    pub fn with_application_name(mut self, name: impl Into<String>) -> Conninfo {
        self.application_name = Some(name.into());
        self
    }

    /// The database that is meant: libpq takes the role's name where none is said.
    pub fn database(&self) -> &str {
        self.dbname.as_deref().unwrap_or(&self.user)
    }

    /// The password for one endpoint: the one given, else the first match in the password file.
    pub fn password_for(&self, endpoint: &Endpoint) -> Option<Secret> {
        self.password.clone().or_else(|| {
            let file = self.passfile.as_deref()?;
            passfile::lookup(file, endpoint, self.database(), &self.user)
        })
    }

    /// The parameters as a `keyword = value` string for libpq, such as `primary_conninfo`: quoted,
    /// and never with a password in it.
    pub fn to_keywords(&self) -> String {
        let mut text = String::new();
        let mut put = |keyword: &str, value: &str| {
            if !text.is_empty() {
                text.push(' ');
            }
            let _ = write!(text, "{keyword}={}", quote_value(value));
        };
        let list = |value: &dyn Fn(&Endpoint) -> String| {
            self.endpoints
                .iter()
                .map(value)
                .collect::<Vec<_>>()
                .join(",")
        };
        put("host", &list(&|endpoint| endpoint.host.to_string()));
        if self
            .endpoints
            .iter()
            .any(|endpoint| endpoint.hostaddr.is_some())
        {
            let address = |endpoint: &Endpoint| {
                endpoint
                    .hostaddr
                    .map(|address| address.to_string())
                    .unwrap_or_default()
            };
            put("hostaddr", &list(&address));
        }
        put("port", &list(&|endpoint| endpoint.port.to_string()));
        put("user", &self.user);
        if let Some(dbname) = &self.dbname {
            put("dbname", dbname);
        }
        if let Some(passfile) = &self.passfile {
            put("passfile", &passfile.to_string_lossy());
        }
        put("sslmode", self.ssl.mode.as_str());
        match &self.ssl.root {
            RootCertificate::File(file) => put("sslrootcert", &file.to_string_lossy()),
            RootCertificate::System => put("sslrootcert", "system"),
            RootCertificate::Default | RootCertificate::Fingerprint(_) => {}
        }
        if let Some(client) = &self.ssl.client {
            put("sslcert", &client.certificate.to_string_lossy());
            put("sslkey", &client.key.to_string_lossy());
        }
        if let Some(name) = &self.application_name {
            put("application_name", name);
        }
        if let Some(options) = &self.options {
            put("options", options);
        }
        if self.connect_timeout != CONNECT_TIMEOUT {
            put(
                "connect_timeout",
                &self.connect_timeout.as_secs().max(1).to_string(),
            );
        }
        text
    }
}

/// Quotes one value of a `keyword = value` string.
fn quote_value(value: &str) -> String {
    let plain = !value.is_empty()
        && !value.contains(|c: char| c.is_ascii_whitespace() || c == '\'' || c == '\\');
    if plain {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

impl Endpoint {
    /// A server over TCP; an address is taken as one.
    pub fn tcp(host: impl Into<String>, port: u16) -> Endpoint {
        Endpoint {
            host: Host::Tcp(host.into()),
            hostaddr: None,
            port,
        }
    }

    /// The socket's path for a Unix endpoint.
    pub(crate) fn socket_path(directory: &Path, port: u16) -> PathBuf {
        directory.join(format!(".s.PGSQL.{port}"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "{host}:{}", self.port),
            Host::Unix(directory) => {
                write!(
                    f,
                    "{}",
                    Endpoint::socket_path(directory, self.port).display()
                )
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp(name) => f.write_str(name),
            Host::Unix(directory) => write!(f, "{}", directory.display()),
        }
    }
}

impl SslMode {
    /// The mode's name in a conninfo string.
    pub fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for SslMode {
    type Err = ConninfoError;

    fn from_str(text: &str) -> Result<SslMode, ConninfoError> {
        match text {
            "disable" => Ok(SslMode::Disable),
            "allow" | "prefer" => Ok(SslMode::Prefer),
            "require" => Ok(SslMode::Require),
            "verify-ca" => Ok(SslMode::VerifyCa),
            "verify-full" => Ok(SslMode::VerifyFull),
            other => Err(ConninfoError::value("sslmode", other)),
        }
    }
}
