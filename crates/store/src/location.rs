//! Where a store is, as text: `sqlite:/path` or `etcd://host:port,…/prefix`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use manada_model::address::HostAddress;

/// The port of etcd where none is given.
pub const ETCD_PORT: u16 = 2379;
/// More endpoints than this are a mistake: etcd clusters have up to seven members.
const ENDPOINTS_MAX: usize = 16;
/// Under which keys of etcd herds are kept where no prefix is given.
const PREFIX_DEFAULT: &str = "/manada";
/// The longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 200;

/// Where a herd's record is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreLocation {
    /// In a file on this machine, which all of the herd's agents change.
    Sqlite(PathBuf),
    /// In an etcd cluster.
    Etcd {
        /// Whether the connections are encrypted, and the servers' certificates checked.
        tls: bool,
        /// Its members, at least one. The first one is preferred.
        endpoints: Vec<Endpoint>,
        /// What the herds' keys begin with; a slash and the herd's name follow.
        prefix: String,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host.
    pub host: HostAddress,
    /// The port.
    pub port: u16,
}

/// The text says no place of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// It begins with something else.
    #[error(
        "a store is sqlite:/path, etcd://host:port,… or etcds://host:port,…, with a /prefix if need be"
    )]
    Scheme,
    /// The file's path.
    #[error("the path of a SQLite store begins with a slash, and does not end with one")]
    Path,
    /// It carries credentials. They are not repeated here.
    #[error("no user or password belongs in a store's address: name a password file")]
    Credentials,
    /// One of the endpoints.
    #[error("{0:?} is no host:port")]
    Endpoint(String),
    /// Their number.
    #[error("a store has 1 to {ENDPOINTS_MAX} endpoints")]
    Endpoints,
    /// The prefix.
    #[error(
        "a prefix is up to {PREFIX_BYTES_MAX} of a-z, A-Z, 0-9, '.', '_', '-' and '/', begins with a slash and does not end with one"
    )]
    Prefix,
}

impl FromStr for StoreLocation {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<StoreLocation, InvalidLocation> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let valid =
                path.starts_with('/') && !path.ends_with('/') && !path.contains(['\0', '\n']);
            return valid
                .then(|| StoreLocation::Sqlite(PathBuf::from(path)))
                .ok_or(InvalidLocation::Path);
        }
        if let Some(rest) = text.strip_prefix("etcd://") {
            etcd(rest, false)
        } else if let Some(rest) = text.strip_prefix("etcds://") {
            etcd(rest, true)
        } else {
            Err(InvalidLocation::Scheme)
        }
    }
}

fn etcd(rest: &str, tls: bool) -> Result<StoreLocation, InvalidLocation> {
    if rest.contains('@') {
        return Err(InvalidLocation::Credentials);
    }
    let (hosts, prefix) = match rest.find('/') {
        Some(at) if rest.len() > at + 1 => rest.split_at(at),
        Some(at) => (&rest[..at], PREFIX_DEFAULT),
        None => (rest, PREFIX_DEFAULT),
    };
    let endpoints = hosts
        .split(',')
        .map(Endpoint::from_str)
        .collect::<Result<Vec<_>, _>>()?;
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(InvalidLocation::Endpoints);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if prefix.len() > PREFIX_BYTES_MAX || prefix.ends_with('/') || !prefix.bytes().all(allowed) {
        return Err(InvalidLocation::Prefix);
    }
    Ok(StoreLocation::Etcd {
        tls,
        endpoints,
        prefix: prefix.to_owned(),
    })
}

impl FromStr for Endpoint {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Endpoint, InvalidLocation> {
        let invalid = || InvalidLocation::Endpoint(text.chars().take(80).collect());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(invalid)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or_else(invalid)?),
            };
            (host, port)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => Some(ETCD_PORT),
        };
        Ok(Endpoint {
            host: host.parse().map_err(|_| invalid())?,
            port: port.ok_or_else(invalid)?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostAddress::Ip(address) => std::net::SocketAddr::new(*address, self.port).fmt(f),
            HostAddress::Name(name) => write!(f, "{}:{}", name.as_str(), self.port),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreLocation::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            StoreLocation::Etcd {
                tls,
                endpoints,
                prefix,
            } => {
                f.write_str(if *tls { "etcds://" } else { "etcd://" })?;
                for (number, endpoint) in endpoints.iter().enumerate() {
                    let comma = if number == 0 { "" } else { "," };
                    write!(f, "{comma}{endpoint}")?;
                }
                f.write_str(prefix)
            }
        }
    }
}

manada_model::serde_as_text!(StoreLocation);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_prints_as_it_is_read() {
        for (text, printed) in [
            (
                "sqlite:/var/lib/a b/store.db",
                "sqlite:/var/lib/a b/store.db",
            ),
            ("etcd://10.0.0.1", "etcd://10.0.0.1:2379/manada"),
            ("etcd://h1:1,h2:2/", "etcd://h1:1,h2:2/manada"),
            (
                "etcds://[::1]:5,[fd00::1]/a/b",
                "etcds://[::1]:5,[fd00::1]:2379/a/b",
            ),
        ] {
            let location: StoreLocation = text.parse().expect(text);
            assert_eq!(location.to_string(), printed);
            assert_eq!(printed.parse(), Ok(location));
        }
    }

    #[test]
    fn what_names_no_store_is_refused() {
        for text in [
            "",
            "/path",
            "sqlite:path",
            "sqlite:/",
            "etcd:h1",
            "etcd://",
            "etcd://h1,,h2",
            "etcd://h1:0",
            "etcd://h1:65536",
            "etcd://h1:x",
            "etcd://::1",
            "etcd://[::1",
            "etcd://h 1",
            "etcd://h1/a b",
            "etcd://h1/a/",
            "http://h1:2379",
        ] {
            assert!(text.parse::<StoreLocation>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_password_in_a_location_is_refused_and_not_repeated() {
        let error = "etcds://root:hunter2@h1:2379".parse::<StoreLocation>();
        let error = error.expect_err("credentials");
        assert_eq!(error, InvalidLocation::Credentials);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
