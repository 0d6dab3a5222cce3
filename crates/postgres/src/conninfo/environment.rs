//! What libpq takes from the environment and from service files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::parse::{ConninfoError, Parameters};

/// Environment variables, by libpq's connection parameter.
const VARIABLES: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSERVICE", "service"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
];

/// The environment variables that say something about a connection, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// This process's environment.
    pub fn of_process() -> Environment {
        let relevant = ["HOME", "USER", "LOGNAME", "PGSERVICEFILE", "PGSYSCONFDIR"];
        let variables = VARIABLES
            .iter()
            .map(|(variable, _)| *variable)
            .chain(relevant);
        Environment {
            variables: variables
                .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
                .collect(),
        }
    }

    /// An environment of these variables and no others.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Environment {
            variables: variables.into_iter().map(owned).collect(),
        }
    }

    /// Whether it names a server: a host, an address, a port or a service.
    pub fn names_a_server(&self) -> bool {
        ["PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE"]
            .iter()
            .any(|name| self.get(name).is_some())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// The role where none is said: the operating system's user.
    pub(super) fn user(&self) -> String {
        let name = self.get("USER").or_else(|| self.get("LOGNAME"));
        name.unwrap_or("postgres").to_owned()
    }

    /// Adds what `given` does not say: first from its service, then from the variables.
    pub(super) fn complete(&self, given: Parameters) -> Result<Parameters, ConninfoError> {
        let mut all: Parameters = VARIABLES
            .iter()
            .filter_map(|(variable, keyword)| {
                Some(((*keyword).to_owned(), self.get(variable)?.to_owned()))
            })
            .collect();
        let service = given.get("service").or_else(|| all.get("service")).cloned();
        if let Some(name) = service {
            all.extend(self.service(&name)?);
        }
        if given.contains_key("host") && !given.contains_key("hostaddr") {
            // An address from the environment belongs to the environment's host.
            all.remove("hostaddr");
        }
        all.extend(given);
        Ok(all)
    }

    /// The parameters of one section of the service files, the user's before the system's.
    fn service(&self, name: &str) -> Result<Parameters, ConninfoError> {
        let user_file = self
            .get("PGSERVICEFILE")
            .map(PathBuf::from)
            .or_else(|| Some(self.home()?.join(".pg_service.conf")));
        let system_file =
            PathBuf::from(self.get("PGSYSCONFDIR").unwrap_or("/etc/postgresql-common"))
                .join("pg_service.conf");
        user_file
            .into_iter()
            .chain([system_file])
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .find_map(|text| section(&text, name))
            .ok_or_else(|| ConninfoError::UnknownService {
                name: name.to_owned(),
            })
    }
}

/// The `keyword=value` lines under `[name]`.
fn section(text: &str, name: &str) -> Option<Parameters> {
    let mut found: Option<Parameters> = None;
    for line in text.lines().map(str::trim) {
        if let Some(title) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            if found.is_some() {
                break;
            }
            found = (title == name).then(Parameters::new);
        } else if let (Some(parameters), Some((keyword, value))) = (
            &mut found,
            line.split_once('=').filter(|_| !line.starts_with('#')),
        ) {
            parameters.insert(keyword.trim().to_owned(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conninfo;

    #[test]
    fn the_environment_fills_what_the_string_leaves_open() {
        let environment =
            Environment::of([("PGHOST", "db1"), ("PGUSER", "ana"), ("PGPORT", "6000")]);
        let conninfo = Conninfo::parse("user=bob", &environment).expect("valid");
        assert_eq!(conninfo.endpoints[0].to_string(), "db1:6000");
        assert_eq!(conninfo.user, "bob");
    }

    #[test]
    fn a_service_is_looked_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("services");
        std::fs::write(
            &file,
            "[other]\nhost=no\n# c\n[mine]\nhost=yes\nport=7\n[more]\nhost=no\n",
        )
        .expect("written");
        let path = file.to_str().expect("UTF-8");
        let environment = Environment::of([("PGSERVICEFILE", path)]);
        let conninfo = Conninfo::parse("service=mine", &environment).expect("valid");
        assert_eq!(conninfo.endpoints[0].to_string(), "yes:7");
        assert!(matches!(
            Conninfo::parse("service=absent", &environment),
            Err(ConninfoError::UnknownService { .. })
        ));
    }
}
