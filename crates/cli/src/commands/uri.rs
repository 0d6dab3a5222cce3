//! `manada uri`: where clients connect, in libpq's own words.

use std::fmt;
use std::path::PathBuf;

use manada_model::HerdStatus;
use manada_postgres::conninfo::{Environment, Host, RootCertificate, SslMode, SslParameters};
use manada_postgres::{Conninfo, Endpoint};

use crate::error::{Failure, Outcome};
use crate::herd_args::{HerdArgs, Target, nobody_answered};
use crate::ui::{Format, Ui};

/// Print the URI by which clients reach the primary, or the standbys.
///
/// It names every server of the herd, the likeliest first, and what the client is to look for:
/// libpq and most drivers find the primary themselves, also after another server has become it.
/// No password is in it: clients have theirs in a password file, or in PGPASSWORD.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  psql \"$(manada uri)\"
  psql \"$(manada uri --read)\" -c 'SELECT count(*) FROM orders'
  manada uri --user app --dbname orders")]
pub(crate) struct UriArgs {
    /// For reading: a standby where there is one, else the primary.
    #[arg(long)]
    read: bool,

    /// The role to log in as [default: that of --uri; else libpq's choice].
    #[arg(long, value_name = "ROLE")]
    user: Option<String>,

    /// The database [default: that of --uri, else postgres].
    #[arg(long, value_name = "NAME")]
    dbname: Option<String>,

    #[command(flatten)]
    herd: HerdArgs,
}

pub(crate) async fn run(args: &UriArgs, ui: Ui) -> Result<Outcome, Failure> {
    let target = args.herd.target()?;
    let status = target.survey.run().await;
    if !status.any_answered() {
        return Err(nobody_answered(&status));
    }
    let uri = client_uri(args, &target, &status);
    match ui.format() {
        Format::Text => ui.text(uri.to_string()),
        Format::Json => ui.json(&serde_json::json!({
            "format": "manada.uri/1",
            "uri": uri.to_string(),
            "target_session_attrs": uri.looks_for.as_str(),
        })),
    }
    Ok(Outcome::Done)
}

fn client_uri(args: &UriArgs, target: &Target, status: &HerdStatus) -> ClientUri {
    // A node's own connection is Manada's: clients have their own roles and certificates.
    let given = match &target.node {
        Some(_) => None,
        None => Some(&target.survey.seeds),
    };
    let looks_for = if args.read {
        LooksFor::PreferStandby
    } else {
        LooksFor::ReadWrite
    };
    ClientUri {
        endpoints: endpoints(&target.survey.seeds, status, looks_for),
        user: args.user.clone().or(given.map(|given| given.user.clone())),
        dbname: args
            .dbname
            .clone()
            .or(given.and_then(|given| given.dbname.clone()))
            .unwrap_or_else(|| "postgres".to_owned()),
        ssl: SslParameters {
            client: given.and_then(|given| given.ssl.client.clone()),
            ..target.survey.others.ssl.clone()
        },
        passfile: given
            .and_then(|given| given.passfile.clone())
            .filter(|passfile| implied_passfile().as_ref() != Some(passfile)),
        looks_for,
    }
}

/// The password file that clients read without being told.
fn implied_passfile() -> Option<PathBuf> {
    Conninfo::parse("", &Environment::of_process())
        .ok()
        .and_then(|implied| implied.passfile)
}

/// Every server's address, those first where the search is likely to end. A server may become what
/// is looked for, so none is left out but those whose address is not known.
fn endpoints(seeds: &Conninfo, status: &HerdStatus, looks_for: LooksFor) -> Vec<Endpoint> {
    let primaries = status.nodes.iter().filter(|node| node.primary().is_some());
    let others = status.nodes.iter().filter(|node| node.primary().is_none());
    let ordered: Vec<_> = match looks_for {
        LooksFor::ReadWrite => primaries.chain(others).collect(),
        LooksFor::PreferStandby => others.chain(primaries).collect(),
    };
    let members = || {
        let said = status.nodes.iter().filter_map(|node| node.status());
        said.flat_map(|said| &said.members)
    };
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for node in ordered {
        let member = members().find(|member| member.name == node.name);
        let endpoint = match (member, &node.endpoint) {
            (Some(member), _) => Some(Endpoint::tcp(&member.host, member.port)),
            (None, Some(text)) => seeds
                .endpoints
                .iter()
                .find(|seed| seed.to_string() == *text)
                .cloned()
                .or_else(|| host_and_port(text)),
            (None, None) => None,
        };
        endpoints.extend(endpoint.filter(|endpoint| !endpoints.contains(endpoint)));
    }
    endpoints
}

/// Reads `host:port` or `[address]:port`, as a status has it.
fn host_and_port(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Some(Endpoint::tcp(host, port.parse().ok()?))
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LooksFor {
    ReadWrite,
    PreferStandby,
}

impl LooksFor {
    fn as_str(self) -> &'static str {
        match self {
            LooksFor::ReadWrite => "read-write",
            LooksFor::PreferStandby => "prefer-standby",
        }
    }
}

/// A connection URI as libpq 14 and newer read it, without a password.
#[derive(Clone, Debug)]
struct ClientUri {
    endpoints: Vec<Endpoint>,
    user: Option<String>,
    dbname: String,
    ssl: SslParameters,
    passfile: Option<PathBuf>,
    looks_for: LooksFor,
}

impl fmt::Display for ClientUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", Encoded(user))?;
        }
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match &endpoint.host {
                Host::Tcp(address) if address.contains(':') => {
                    write!(f, "{comma}[{address}]:{}", endpoint.port)?;
                }
                Host::Tcp(host) => write!(f, "{comma}{}:{}", Encoded(host), endpoint.port)?,
                Host::Unix(directory) => {
                    let directory = directory.to_string_lossy();
                    write!(f, "{comma}{}:{}", Encoded(&directory), endpoint.port)?;
                }
            }
        }
        write!(f, "/{}", Encoded(&self.dbname))?;
        write!(f, "?target_session_attrs={}", self.looks_for.as_str())?;
        self.parameters(f)
    }
}

impl ClientUri {
    fn parameters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut put = |name: &str, value: &str| write!(f, "&{name}={}", Encoded(value));
        if self
            .endpoints
            .iter()
            .any(|endpoint| endpoint.hostaddr.is_some())
        {
            let address = |endpoint: &Endpoint| {
                let address = endpoint.hostaddr.map(|address| address.to_string());
                address.unwrap_or_default()
            };
            let addresses: Vec<String> = self.endpoints.iter().map(address).collect();
            put("hostaddr", &addresses.join(","))?;
        }
        if self.ssl.mode != SslMode::default() {
            put("sslmode", self.ssl.mode.as_str())?;
        }
        match &self.ssl.root {
            RootCertificate::File(file) => put("sslrootcert", &file.to_string_lossy())?,
            RootCertificate::System => put("sslrootcert", "system")?,
            RootCertificate::Default | RootCertificate::Fingerprint(_) => {}
        }
        if let Some(client) = &self.ssl.client {
            put("sslcert", &client.certificate.to_string_lossy())?;
            put("sslkey", &client.key.to_string_lossy())?;
        }
        if let Some(passfile) = &self.passfile {
            put("passfile", &passfile.to_string_lossy())?;
        }
        Ok(())
    }
}

/// Text with all but RFC 3986's unreserved characters percent-encoded.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(endpoints: Vec<Endpoint>, user: &str, dbname: &str) -> ClientUri {
        ClientUri {
            endpoints,
            user: Some(user.to_owned()),
            dbname: dbname.to_owned(),
            ssl: SslParameters {
                mode: SslMode::VerifyFull,
                root: RootCertificate::File("/a b/ca.crt".into()),
                client: None,
            },
            passfile: None,
            looks_for: LooksFor::ReadWrite,
        }
    }

    #[test]
    fn every_host_is_named_and_the_path_is_encoded() {
        let endpoints = vec![
            Endpoint::tcp("10.0.0.1", 5432),
            Endpoint::tcp("fd00::2", 5433),
        ];
        insta::assert_snapshot!(uri(endpoints, "app", "orders"), @r#"
        postgresql://app@10.0.0.1:5432,[fd00::2]:5433/orders?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=%2Fa%20b%2Fca.crt
        "#);
    }

    #[test]
    fn an_address_of_a_status_is_read() {
        assert_eq!(
            host_and_port("db-1:5432"),
            Some(Endpoint::tcp("db-1", 5432))
        );
        assert_eq!(
            host_and_port("[fd00::2]:5433"),
            Some(Endpoint::tcp("fd00::2", 5433))
        );
        assert_eq!(host_and_port("/run/.s.PGSQL.5432"), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_means_the_same_to_a_client(
            user in "[^\0]{1,12}",
            dbname in "[^\0]{1,12}",
            directory in r"/[^\x00,\s]{1,6} [^\x00,\s]{1,6}",
            port in 1..=u16::MAX,
        ) {
            let endpoint = Endpoint { host: Host::Unix(directory.into()), hostaddr: None, port };
            let printed = uri(vec![endpoint, Endpoint::tcp("db-1", port)], &user, &dbname);
            let read = Conninfo::parse(&printed.to_string(), &Environment::default())
                .map_err(|error| TestCaseError::fail(format!("{printed}: {error}")))?;
            prop_assert_eq!(read.endpoints, printed.endpoints);
            prop_assert_eq!(read.user, user);
            prop_assert_eq!(read.dbname, Some(dbname));
            prop_assert_eq!(read.ssl, printed.ssl);
        }
    }
}
