//! `manada.toml`: what a node is.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use manada_model::{HerdName, NodeName, SystemIdentifier};
use manada_postgres::address::HostAddress;
use manada_postgres::replace_file::{FileOwner, ReplaceFileError, replace_file};
use serde::{Deserialize, Serialize};

/// What a node is, and where its server's parts lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// The herd.
    pub herd: HerdName,
    /// The node: its `application_name` and `cluster_name`.
    pub name: NodeName,
    /// How the other nodes reach it, the preferred one first. Never empty.
    #[serde(deserialize_with = "not_empty")]
    pub addresses: Vec<HostAddress>,
    /// The server's port.
    pub port: u16,
    /// The cluster's number, which all nodes of the herd share.
    pub system_identifier: SystemIdentifier,
    /// PGDATA.
    pub data_directory: PathBuf,
    /// `postgresql.conf`; `manada.conf` lies beside it.
    pub config_file: PathBuf,
    /// `pg_hba.conf`.
    pub hba_file: PathBuf,
    /// The server's programs.
    pub bin_dir: PathBuf,
    /// The role that may do all, over the Unix socket.
    pub superuser: String,
    /// The role by which standbys follow.
    pub replication_role: String,
    /// Where the server's Unix socket is.
    pub socket_directory: PathBuf,
    /// Where WAL is archived, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_directory: Option<PathBuf>,
    /// Whether Manada made the server, or took over one that was there.
    pub adopted: bool,
    /// How its agent protects it, once `manada run` has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protect: Option<Protect>,
}

/// What `manada run` was told at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protect {
    /// Where the herd's record is kept, as `--store` takes it.
    pub store: String,
    /// Where the other nodes' agents reach this one's.
    pub listen: SocketAddr,
    /// Where load balancers and monitoring ask how it is.
    pub health: SocketAddr,
    /// Who is preferred among nodes with equal WAL: the higher. 0 never leads.
    pub priority: u8,
    /// How the store lets this node in.
    #[serde(default, skip_serializing_if = "StoreAccess::is_nothing")]
    pub store_access: StoreAccess,
}

/// Files with what the herd's store wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreAccess {
    /// The certificates of the authorities that may have signed the store's, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// What this node shows of itself, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// As whom it logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The file whose first line is the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

impl StoreAccess {
    fn is_nothing(&self) -> bool {
        *self == StoreAccess::default()
    }
}

/// `manada.toml` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeFileError {
    /// It can't be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// It says something that is none of its parameters, or no value for one.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and on which line.
        reason: String,
    },
    /// It can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
}

impl NodeFile {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<NodeFile, NodeFileError> {
        let text = fs::read_to_string(path).map_err(|source| NodeFileError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| NodeFileError::Malformed {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })
    }

    /// Replaces the file.
    pub fn write(&self, path: &Path, owner: FileOwner) -> Result<(), NodeFileError> {
        let body = toml::to_string(self).map_err(|error| NodeFileError::Malformed {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
        let text = format!("# What this node is. Written by manada.\n{body}");
        Ok(replace_file(path, &text, owner)?)
    }

    /// The address the others are told first.
    pub fn address(&self) -> &HostAddress {
        self.addresses.first().expect("a node has an address")
    }

    /// `manada.conf`, beside `postgresql.conf`.
    pub fn settings_file(&self) -> PathBuf {
        self.config_file
            .with_file_name(manada_postgres::settings::FILE_NAME)
    }
}

fn not_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<HostAddress>, D::Error> {
    let addresses = Vec::deserialize(deserializer)?;
    if addresses.is_empty() {
        return Err(serde::de::Error::custom("a node has at least one address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> NodeFile {
        NodeFile {
            herd: "main".parse().expect("valid"),
            name: "n1".parse().expect("valid"),
            addresses: vec!["10.0.0.1".parse().expect("valid")],
            port: 5432,
            system_identifier: SystemIdentifier(7),
            data_directory: "/var/lib/a b/data".into(),
            config_file: "/etc/p/postgresql.conf".into(),
            hba_file: "/etc/p/pg_hba.conf".into(),
            bin_dir: "/usr/lib/postgresql/15/bin".into(),
            superuser: "it's \"me\"".to_owned(),
            replication_role: "replicator".to_owned(),
            socket_directory: "/run/x".into(),
            archive_directory: None,
            adopted: true,
            protect: Some(Protect {
                store: "etcds://10.0.0.9:2379/manada".to_owned(),
                listen: "10.0.0.1:15432".parse().expect("valid"),
                health: "[::1]:8008".parse().expect("valid"),
                priority: 1,
                store_access: StoreAccess {
                    ca: Some("/etc/etcd/ca.crt".into()),
                    ..StoreAccess::default()
                },
            }),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("manada.toml");
        let owner = FileOwner::like(directory.path()).expect("there");
        example().write(&path, owner).expect("written");
        assert_eq!(NodeFile::read(&path).expect("valid"), example());
        assert_eq!(example().settings_file(), Path::new("/etc/p/manada.conf"));
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("manada.toml");
        let good = toml::to_string(&example()).expect("TOML");
        for (bad, part) in [
            (good.replace("port = 5432", "port = 70000"), "line 4"),
            (good.replace("port", "prot"), "prot"),
            (good.replace("10.0.0.1", "10.0.0.1/8"), "10.0.0.1/8"),
            (good.replace("[\"10.0.0.1\"]", "[]"), "at least one address"),
            (good.replace("name = \"n1\"", "name = \"N 1\""), "N 1"),
        ] {
            fs::write(&path, bad).expect("written");
            let error = NodeFile::read(&path).expect_err(part).to_string();
            assert!(
                error.contains("manada.toml") && error.contains(part),
                "{error}"
            );
        }
    }
}
