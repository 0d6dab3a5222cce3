//! A node of this host: its home, what it is, and the ways to its server.

use std::fs;
use std::path::{Path, PathBuf};

use manada_model::{HerdName, NodeName};
use manada_postgres::conninfo::Endpoint;
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::replace_file::{FileOwner, ReplaceFileError, replace_file};
use manada_postgres::transport::Peer;
use manada_postgres::{ConnectError, Conninfo, Session};

use crate::home::{Home, HomeError};
use crate::managed;
use crate::node_file::{NodeFile, NodeFileError};
use crate::schema::{DATABASE, MONITOR_ROLE, NodePasswords};

/// The permissions of what only the server's user may read.
pub(crate) const PRIVATE: u32 = 0o600;
/// The permissions of what clients on this host may read.
const PUBLIC: u32 = 0o644;

/// The settings of a superuser's session of ours: what it does never waits for standbys, and is
/// not written to the server's log. The rest is what a database, a role or the server may have as
/// its default, and by which the herd could neither be looked at nor led: a standby asks nothing
/// under `serializable`, and who is read-only writes no rule.
pub(crate) const OUR_SETTINGS: &str = "-c synchronous_commit=local -c log_statement=none \
     -c log_min_duration_statement=-1 -c default_transaction_read_only=off \
     -c default_transaction_isolation=read\\ committed -c statement_timeout=0 -c lock_timeout=0 \
     -c session_preload_libraries= -c local_preload_libraries=";

/// A finished node of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its directory.
    pub home: Home,
    /// What it is.
    pub file: NodeFile,
}

/// Which of this host's nodes is meant cannot be told, or it can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FindNodeError {
    /// None at all, or none that fits.
    #[error("no such node on this host")]
    None,
    /// More than one fits.
    #[error("several nodes on this host fit: {}", list(nodes))]
    Several {
        /// Those.
        nodes: Vec<Node>,
    },
    /// Homes can't be looked at.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A node's file can't be used.
    #[error(transparent)]
    File(#[from] NodeFileError),
}

fn list(nodes: &[Node]) -> String {
    let names: Vec<String> = nodes
        .iter()
        .map(|node| format!("{}/{}", node.file.herd, node.file.name))
        .collect();
    names.join(", ")
}

impl Node {
    /// The node whose directory this is.
    pub fn open(home: Home) -> Result<Node, NodeFileError> {
        let file = NodeFile::read(&home.node_file())?;
        Ok(Node { home, file })
    }

    /// All nodes of this user on this host.
    pub fn discover() -> Result<Vec<Node>, FindNodeError> {
        let homes = Home::discover()?;
        Ok(homes
            .into_iter()
            .map(Node::open)
            .collect::<Result<Vec<_>, _>>()?)
    }

    /// The one node that is meant: that of `home`, else the only one that fits the names.
    pub fn find(
        home: Option<&Path>,
        herd: Option<&HerdName>,
        name: Option<&NodeName>,
    ) -> Result<Node, FindNodeError> {
        if let Some(home) = home {
            let home = Home::at(home)?;
            if !home.node_file().exists() {
                return Err(FindNodeError::None);
            }
            return Ok(Node::open(home)?);
        }
        let mut nodes = Node::discover()?;
        nodes.retain(|node| {
            herd.is_none_or(|herd| node.file.herd == *herd)
                && name.is_none_or(|name| node.file.name == *name)
        });
        match nodes.len() {
            0 => Err(FindNodeError::None),
            1 => Ok(nodes.remove(0)),
            _ => Err(FindNodeError::Several { nodes }),
        }
    }

    /// Who runs the server.
    pub fn user(&self) -> Result<OsUser, OsUserError> {
        OsUser::of_data_directory(&self.file.data_directory)
    }

    /// The superuser's connection through the socket. Open it as [`Node::peer`].
    ///
    /// What is done with it never waits for standbys and is not written to the server's log: it
    /// sets passwords, and repairs what hangs.
    pub fn superuser(&self) -> Conninfo {
        let mut conninfo = Conninfo::unix(
            &self.file.socket_directory,
            self.file.port,
            &self.file.superuser,
        )
        .with_dbname(DATABASE)
        .with_application_name("manada");
        conninfo.options = Some(OUR_SETTINGS.to_owned());
        conninfo
    }

    /// The operating system's user to appear as on the socket.
    pub fn peer(&self) -> Result<Peer, OsUserError> {
        let user = self.user()?;
        Ok(Peer {
            uid: user.uid(),
            gid: user.gid(),
        })
    }

    /// A superuser's session through the socket.
    pub async fn open_superuser(&self) -> Result<Session, OpenNodeError> {
        let peer = self.peer()?;
        Ok(Session::open_as(&self.superuser(), Some(peer)).await?)
    }

    /// The connection by which this node reads the status of any node of its herd.
    pub fn monitor(&self, endpoint: Endpoint) -> Conninfo {
        Conninfo::at(endpoint, MONITOR_ROLE)
            .with_dbname(DATABASE)
            .with_passfile(self.home.passfile())
            .with_ssl(managed::node_tls(&self.home))
            .with_application_name("manada")
    }

    /// Where this node's own server answers over TCP.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::tcp(self.file.address().to_string(), self.file.port)
    }
}

/// There is no superuser's session with this node's server.
#[derive(Debug, thiserror::Error)]
pub enum OpenNodeError {
    /// Nobody, or not us, may act as the server's user.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The server does not answer or refuses.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// The home's files, the server user's alone but for the authority's certificate.
pub(crate) struct HomeFiles<'a> {
    pub(crate) home: &'a Home,
    pub(crate) user: &'a OsUser,
}

impl HomeFiles<'_> {
    pub(crate) fn owner(&self) -> FileOwner {
        FileOwner {
            uid: self.user.uid(),
            gid: self.user.gid(),
            mode: PRIVATE,
        }
    }

    pub(crate) fn write(&self, path: &Path, text: &str) -> Result<(), ReplaceFileError> {
        replace_file(path, text, self.owner())
    }

    /// The authority's certificate: this host's clients know its servers by it, so they may read
    /// it.
    pub(crate) fn write_ca_certificate(&self, pem: &str) -> Result<(), ReplaceFileError> {
        let owner = FileOwner {
            mode: PUBLIC,
            ..self.owner()
        };
        replace_file(&self.home.ca_certificate(), pem, owner)
    }

    /// The file's text; `None` where it is missing.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<String>, HomeError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HomeError::io("read", path)(source)),
        }
    }

    /// The passwords by which nodes know each other.
    pub(crate) fn write_passwords(
        &self,
        replication_role: &str,
        passwords: &NodePasswords,
    ) -> Result<(), ReplaceFileError> {
        let escaped = replication_role.replace('\\', r"\\").replace(':', r"\:");
        let text = format!(
            "*:*:*:{escaped}:{}\n*:*:*:{MONITOR_ROLE}:{}\n",
            passwords.replication.reveal(),
            passwords.monitor.reveal()
        );
        self.write(&self.home.passfile(), &text)
    }

    /// What [`HomeFiles::write_passwords`] wrote.
    pub(crate) fn passwords(&self, replication_role: &str) -> Option<NodePasswords> {
        let of = |role: &str| {
            let endpoint = Endpoint::tcp("localhost", 1);
            Conninfo::at(endpoint.clone(), role)
                .with_passfile(self.home.passfile())
                .password_for(&endpoint)
        };
        Some(NodePasswords {
            replication: of(replication_role)?,
            monitor: of(MONITOR_ROLE)?,
        })
    }
}

/// Where the server's user finds the `manada` program: `program` itself, or, where that user can't
/// reach it, a copy in the home. Looks only.
pub(crate) fn program_path_for_server(
    program: &Path,
    home: &Home,
    user: &OsUser,
) -> Result<PathBuf, HomeError> {
    let reached = user
        .command("/bin/sh")
        .args(["-c", "test -x \"$1\"", "sh"])
        .arg(program)
        .status()
        .map_err(HomeError::io("look at", program))?;
    Ok(if reached.success() {
        program.to_path_buf()
    } else {
        home.path().join("bin/manada")
    })
}

/// The same, with the copy made where there must be one.
pub(crate) fn program_for_server(
    program: &Path,
    home: &Home,
    user: &OsUser,
) -> Result<PathBuf, HomeError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = program_path_for_server(program, home, user)?;
    if path == program {
        return Ok(path);
    }
    let directory = home.path().join("bin");
    match user.create_private_directory(&directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(HomeError::io("create", &directory)(source)),
    }
    // A running copy can't be written to, but replaced.
    let beside = directory.join(".manada.new");
    fs::copy(program, &beside)
        .and_then(|_| {
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
            fs::rename(&beside, &path)
        })
        .map_err(HomeError::io("copy the program to", &path))?;
    Ok(path)
}
