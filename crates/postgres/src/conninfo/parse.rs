//! Reading `postgresql://…` URIs and `keyword = value` strings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    CONNECT_TIMEOUT, ClientCertificate, Conninfo, DEFAULT_PORT, Endpoint, Environment, Host,
    RootCertificate, SslParameters,
};
use crate::Secret;

/// The text or the environment does not describe a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConninfoError {
    /// The string breaks libpq's grammar.
    #[error("the connection string is malformed: {0}")]
    Malformed(&'static str),
    /// A parameter libpq does not have, or that has no meaning here.
    #[error("{name:?} is not a connection parameter")]
    UnknownParameter {
        /// The parameter.
        name: String,
    },
    /// A value that the parameter can't have.
    #[error("{value:?} is not a value for the connection parameter {name}")]
    Value {
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
    },
    /// `host`, `hostaddr` and `port` list different numbers of servers.
    #[error("{name} lists {count} entries for {hosts} hosts")]
    ListLength {
        /// The list that does not fit.
        name: &'static str,
        /// How many it has.
        count: usize,
        /// How many hosts there are.
        hosts: usize,
    },
    /// `service` names a section that no service file has.
    #[error("no service {name:?} in the connection service file")]
    UnknownService {
        /// The service.
        name: String,
    },
}

impl ConninfoError {
    pub(super) fn value(name: &str, value: &str) -> ConninfoError {
        ConninfoError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// Parameters as text, by libpq's keyword.
pub(super) type Parameters = BTreeMap<String, String>;

/// The keywords that are understood, or known to libpq and without effect here.
const KEYWORDS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslmode",
    "sslnegotiation",
    "requiressl",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "service",
    "target_session_attrs",
    "load_balance_hosts",
];

impl Conninfo {
    /// Reads a URI (`postgresql://…`, `postgres://…`) or a `keyword = value` string; what it does
    /// not say comes from `environment`, as in libpq. An empty string is the environment alone.
    pub fn parse(text: &str, environment: &Environment) -> Result<Conninfo, ConninfoError> {
        let given = if text.starts_with("postgresql://") || text.starts_with("postgres://") {
            parse_uri(text)?
        } else {
            parse_keywords(text)?
        };
        if let Some(name) = given.keys().find(|name| !KEYWORDS.contains(&name.as_str())) {
            return Err(ConninfoError::UnknownParameter { name: name.clone() });
        }
        from_parameters(environment.complete(given)?, environment)
    }
}

/// One value of a `keyword = value` string; `None` also where the string can't be read.
pub(crate) fn keyword_value(text: &str, keyword: &str) -> Option<String> {
    parse_keywords(text).ok()?.remove(keyword)
}

fn from_parameters(
    parameters: Parameters,
    environment: &Environment,
) -> Result<Conninfo, ConninfoError> {
    let get = |name: &str| parameters.get(name).filter(|value| !value.is_empty());
    let home = environment.home();
    let user = get("user").cloned().unwrap_or_else(|| environment.user());
    let connect_timeout = match get("connect_timeout") {
        None => CONNECT_TIMEOUT,
        Some(text) => {
            let seconds = text
                .parse::<i64>()
                .map_err(|_| ConninfoError::value("connect_timeout", text))?;
            // libpq: 0 and less mean "wait for ever"; here nothing does.
            if seconds <= 0 {
                CONNECT_TIMEOUT
            } else {
                Duration::from_secs(seconds.unsigned_abs())
            }
        }
    };
    let default_client = home.as_ref().map(|home| ClientCertificate {
        certificate: home.join(".postgresql/postgresql.crt"),
        key: home.join(".postgresql/postgresql.key"),
    });
    let client = match (get("sslcert"), get("sslkey")) {
        (None, None) => default_client.filter(|client| client.certificate.exists()),
        (certificate, key) => {
            let default = default_client.unwrap_or_else(|| ClientCertificate {
                certificate: "postgresql.crt".into(),
                key: "postgresql.key".into(),
            });
            Some(ClientCertificate {
                certificate: certificate.map_or(default.certificate, Into::into),
                key: key.map_or(default.key, Into::into),
            })
        }
    };
    Ok(Conninfo {
        endpoints: endpoints(
            get("host").map(String::as_str),
            get("hostaddr").map(String::as_str),
            get("port").map(String::as_str),
        )?,
        user,
        dbname: get("dbname").cloned(),
        password: parameters.get("password").map(Secret::new),
        passfile: get("passfile")
            .map(Into::into)
            .or_else(|| home.as_ref().map(|home| home.join(".pgpass"))),
        ssl: SslParameters {
            mode: get("sslmode").map_or(Ok(Default::default()), |mode| mode.parse())?,
            root: match get("sslrootcert").map(String::as_str) {
                None => RootCertificate::Default,
                Some("system") => RootCertificate::System,
                Some(file) => RootCertificate::File(file.into()),
            },
            client,
        },
        application_name: get("application_name").cloned(),
        connect_timeout,
        options: get("options").cloned(),
    })
}

/// The directories in which a server's socket lies where no host is said: Debian's, then
/// PostgreSQL's own default.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

fn default_host(port: u16) -> Host {
    let with_socket = SOCKET_DIRECTORIES
        .iter()
        .find(|directory| Endpoint::socket_path(directory.as_ref(), port).exists());
    match with_socket {
        Some(directory) => Host::Unix(directory.into()),
        None => Host::Tcp("localhost".to_owned()),
    }
}

fn endpoints(
    hosts: Option<&str>,
    addresses: Option<&str>,
    ports: Option<&str>,
) -> Result<Vec<Endpoint>, ConninfoError> {
    let split = |list: Option<&str>| -> Vec<String> {
        list.map(|list| list.split(',').map(|item| item.trim().to_owned()).collect())
            .unwrap_or_default()
    };
    let (hosts, addresses, ports) = (split(hosts), split(addresses), split(ports));
    let count = hosts.len().max(addresses.len()).max(1);
    for (name, list) in [("host", &hosts), ("hostaddr", &addresses)] {
        if !list.is_empty() && list.len() != count {
            return Err(ConninfoError::ListLength {
                name,
                count: list.len(),
                hosts: count,
            });
        }
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(ConninfoError::ListLength {
            name: "port",
            count: ports.len(),
            hosts: count,
        });
    }
    (0..count)
        .map(|index| {
            let text = ports
                .get(index)
                .or(ports.first())
                .map_or("", String::as_str);
            let port = match text {
                "" => DEFAULT_PORT,
                text => text
                    .parse::<u16>()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| ConninfoError::value("port", text))?,
            };
            let hostaddr: Option<std::net::IpAddr> =
                match addresses.get(index).map_or("", String::as_str) {
                    "" => None,
                    text => Some(
                        text.parse()
                            .map_err(|_| ConninfoError::value("hostaddr", text))?,
                    ),
                };
            let host = match (hosts.get(index).map_or("", String::as_str), hostaddr) {
                ("", Some(address)) => Host::Tcp(address.to_string()),
                ("", None) => default_host(port),
                (host, _) if host.starts_with('/') || host.starts_with('@') => {
                    Host::Unix(host.into())
                }
                (host, _) => Host::Tcp(host.to_owned()),
            };
            Ok(Endpoint {
                host,
                hostaddr,
                port,
            })
        })
        .collect()
}

/// `keyword = value` pairs; values may stand in single quotes, with backslash escapes.
fn parse_keywords(text: &str) -> Result<Parameters, ConninfoError> {
    let mut parameters = Parameters::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        if chars.peek().is_none() {
            return Ok(parameters);
        }
        let mut keyword = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_ascii_whitespace()) {
            keyword.push(c);
        }
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        if chars.next() != Some('=') {
            return Err(ConninfoError::Malformed("a keyword has no '=' behind it"));
        }
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        let mut value = String::new();
        let quoted = chars.next_if_eq(&'\'').is_some();
        loop {
            match chars.next() {
                None if quoted => {
                    return Err(ConninfoError::Malformed("a quoted value has no end"));
                }
                None => break,
                Some('\'') if quoted => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) if !quoted && c.is_ascii_whitespace() => break,
                Some(c) => value.push(c),
            }
        }
        parameters.insert(keyword, value);
    }
}

/// `postgresql://[user[:password]@][host[:port],…][/dbname][?keyword=value&…]`.
fn parse_uri(text: &str) -> Result<Parameters, ConninfoError> {
    let mut parameters = Parameters::new();
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, None), |(rest, q)| (rest, Some(q)));
    let (authority, dbname) = rest
        .split_once('/')
        .map_or((rest, None), |(rest, dbname)| (rest, Some(dbname)));
    let (credentials, hosts) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(c, hosts)| (Some(c), hosts));
    if let Some(credentials) = credentials {
        let (user, password) = credentials
            .split_once(':')
            .map_or((credentials, None), |(u, p)| (u, Some(p)));
        parameters.insert("user".into(), percent_decode(user)?);
        if let Some(password) = password {
            parameters.insert("password".into(), percent_decode(password)?);
        }
    }
    if !hosts.is_empty() {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in hosts.split(',') {
            let (name, port) = split_host(host)?;
            names.push(percent_decode(name)?);
            ports.push(port.to_owned());
        }
        parameters.insert("host".into(), names.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            parameters.insert("port".into(), ports.join(","));
        }
    }
    if let Some(dbname) = dbname.filter(|dbname| !dbname.is_empty()) {
        parameters.insert("dbname".into(), percent_decode(dbname)?);
    }
    for pair in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|p| !p.is_empty())
    {
        let (name, value) = pair.split_once('=').ok_or(ConninfoError::Malformed(
            "a parameter in the query has no '='",
        ))?;
        match (percent_decode(name)?, percent_decode(value)?) {
            (name, value) if name == "ssl" && value == "true" => {
                parameters.insert("sslmode".into(), "require".into());
            }
            (name, value) => {
                parameters.insert(name, value);
            }
        }
    }
    Ok(parameters)
}

/// A host and its port; an IPv6 address stands in brackets.
fn split_host(text: &str) -> Result<(&str, &str), ConninfoError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(ConninfoError::Malformed(
            "an IPv6 address has no closing bracket",
        ))?;
        return match rest {
            "" => Ok((address, "")),
            rest => rest
                .strip_prefix(':')
                .map(|port| (address, port))
                .ok_or(ConninfoError::Malformed("text behind an IPv6 address")),
        };
    }
    Ok(text.split_once(':').unwrap_or((text, "")))
}

fn percent_decode(text: &str) -> Result<String, ConninfoError> {
    const BAD: ConninfoError = ConninfoError::Malformed("a percent-encoded character is not one");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(BAD)?;
        rest = tail;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BAD);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        match u8::try_from(value) {
            Ok(0) | Err(_) => return Err(BAD),
            Ok(byte) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| BAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conninfo::SslMode;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Conninfo, ConninfoError> {
        Conninfo::parse(text, &Environment::of([("USER", "ana")]))
    }

    #[test]
    fn a_uri_with_several_hosts_is_read() {
        let conninfo = parse(
            "postgresql://re%40der:s%3Acret@db1:5433,[fd00::2]/app?sslmode=verify-full&sslrootcert=/ca.crt&connect_timeout=2",
        )
        .expect("a valid URI");
        assert_eq!(
            conninfo.endpoints,
            [
                Endpoint::tcp("db1", 5433),
                Endpoint::tcp("fd00::2", DEFAULT_PORT)
            ]
        );
        assert_eq!(conninfo.user, "re@der");
        assert_eq!(conninfo.password, Some(Secret::new("s:cret")));
        assert_eq!(conninfo.database(), "app");
        assert_eq!(conninfo.ssl.mode, SslMode::VerifyFull);
        assert_eq!(conninfo.ssl.root, RootCertificate::File("/ca.crt".into()));
        assert_eq!(conninfo.connect_timeout, Duration::from_secs(2));
    }

    #[test]
    fn quoted_keywords_are_read() {
        let conninfo = parse(r"host = 'a' dbname='it\'s \\ here' user=bob").expect("valid");
        assert_eq!(conninfo.dbname.as_deref(), Some(r"it's \ here"));
        assert_eq!(conninfo.user, "bob");
    }

    #[test]
    fn a_socket_directory_is_not_a_name() {
        let conninfo = parse("postgresql:///app?host=/run/pg&port=6000").expect("valid");
        assert_eq!(conninfo.endpoints[0].to_string(), "/run/pg/.s.PGSQL.6000");
        let encoded = parse("postgresql://%2Frun%2Fpg/app").expect("valid");
        assert_eq!(encoded.endpoints[0].host, Host::Unix("/run/pg".into()));
    }

    #[test]
    fn one_port_serves_all_hosts() {
        let conninfo = parse("host=a,b,c port=7000").expect("valid");
        assert!(
            conninfo
                .endpoints
                .iter()
                .all(|endpoint| endpoint.port == 7000)
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("host=a sslmod=require", "sslmod"),
            ("host=a port=0", "port"),
            ("host=a port=70000", "70000"),
            ("host=a,b hostaddr=127.0.0.1", "hostaddr"),
            ("host='a", "no end"),
            ("host", "'='"),
            ("postgresql://a?x", "'='"),
            ("postgresql://a%zz", "percent"),
            ("host=a sslmode=maybe", "maybe"),
            ("host=a connect_timeout=soon", "soon"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            host in "[a-z][a-z0-9.-]{0,20}", port in 1_u16.., user in "[^\0]{1,30}",
            dbname in "[^\0]{1,30}", name in "[^\0]{1,30}",
        ) {
            let written = Conninfo::tcp(host, port, user)
                .with_dbname(dbname)
                .with_passfile("/a b/pass'file")
                .with_application_name(name);
            let read = parse(&written.to_keywords()).expect("own output is valid");
            prop_assert_eq!(read, written);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("postgresql://{text}"));
        }
    }
}
