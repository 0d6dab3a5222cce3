//! What an etcd store wants to see before it answers.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Files with certificates and passwords. A SQLite store needs none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The certificates of the authorities that may have signed the servers', as PEM. Without it,
    /// `etcds:` trusts nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// What this host shows of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientCertificate>,
    /// As whom it logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A user of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The file whose first line is the password.
    pub password_file: PathBuf,
}

/// A file that gives access can't be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no password.
    #[error("{} holds no password: its first line is empty", path.display())]
    NoPassword {
        /// Which.
        path: PathBuf,
    },
    /// It holds no certificate or no key, or one that is damaged.
    #[error("{} is no PEM file with a {wanted}", path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The certificate and the key don't go together, or TLS can't use them.
    #[error("TLS can't use the certificates")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// Nobody to trust was named.
    #[error("TLS needs the certificate of the authority that signed the store's")]
    NoAuthority,
}

/// A password. It does not print.
pub(crate) struct Password(String);

impl Password {
    pub(crate) fn read(path: &Path) -> Result<Password, AccessError> {
        let text = std::fs::read_to_string(path).map_err(|source| AccessError::Read {
            path: path.to_owned(),
            source,
        })?;
        let first = text.lines().next().unwrap_or_default();
        if first.is_empty() {
            return Err(AccessError::NoPassword {
                path: path.to_owned(),
            });
        }
        Ok(Password(first.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
