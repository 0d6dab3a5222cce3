//! A new herd: a server that becomes its first primary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use manada_model::{HerdName, NodeName, SystemIdentifier};
use manada_postgres::address::HostAddress;
use manada_postgres::control_file::{ControlFile, ControlFileError};
use manada_postgres::initdb::{InitdbError, NewCluster, initdb};
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::process::{RunningError, StartError, StopError, StopMode, running, stop};
use manada_postgres::programs::ServerPrograms;
use manada_postgres::quote::Unquotable;
use manada_postgres::session::server_message;
use manada_postgres::{ConnectError, Secret, Session};
use manada_wal::archive::{self, LabelError};

use crate::home::{Home, HomeError, prove_writable};
use crate::identity::{IdentityError, of_first_node};
use crate::managed;
use crate::member::Member;
use crate::node::{HomeFiles, Node, program_for_server};
use crate::node_file::{NodeFile, NodeFileError};
use crate::ports::{PortTaken, prove_free};
use crate::schema::{NodePasswords, REPLICATION_ROLE, Schema};
use crate::server_files::{ServerFilesError, write_server_files};
use crate::started::StartedServer;
use crate::token::Token;
use crate::token_issue::{IssueTokenError, issue_token};

/// The superuser of a server that Manada makes.
pub const SUPERUSER: &str = "postgres";

/// How long a server that an interrupted run left is given to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// What the mark of an unfinished node says while a herd is made.
const UNFINISHED: &str = "init\n";

/// What the herd and its first node are to be.
#[derive(Clone, Debug)]
pub struct NewHerd {
    /// Where the node lives.
    pub home: Home,
    /// The herd's name.
    pub herd: HerdName,
    /// The node's name.
    pub name: NodeName,
    /// How other hosts reach it, the preferred one first. Not empty.
    pub addresses: Vec<HostAddress>,
    /// The server's port.
    pub port: u16,
    /// Where WAL is to be archived, if it is.
    pub archive_directory: Option<PathBuf>,
    /// The `manada` program, which the server runs to admit nodes and to archive.
    pub manada: PathBuf,
    /// How long the first join token is good.
    pub token_lifetime: Duration,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateStep {
    /// The data directory, and meanwhile the keys.
    MakingDataDirectory,
    /// `manada.conf` and access rules.
    WritingSettings,
    /// The server is started.
    Starting,
    /// Roles, the table of members, the door for newcomers.
    MakingRoles,
}

/// A herd of one node.
#[derive(Debug)]
pub struct Created {
    /// The primary.
    pub node: Node,
    /// What a newcomer needs. A secret.
    pub token: Token,
}

/// The herd could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The home is a node's already.
    #[error("{} holds the node {name} of the herd {herd} already", home.display())]
    NodeExists {
        /// The home.
        home: PathBuf,
        /// The herd.
        herd: HerdName,
        /// The node.
        name: NodeName,
    },
    /// The data directory is there and not of our making.
    #[error("{} exists, and no unfinished manada init made it", path.display())]
    DataNotOurs {
        /// The data directory.
        path: PathBuf,
    },
    /// The port is in use.
    #[error(transparent)]
    Port(#[from] PortTaken),
    /// Nobody suitable runs servers here.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Keys and certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The data directory can't be made.
    #[error(transparent)]
    Initdb(#[from] InitdbError),
    /// Settings and access rules can't be written.
    #[error(transparent)]
    Files(#[from] ServerFilesError),
    /// A name or path can't be written where it must be.
    #[error("a name or path can't be used: {0}")]
    Unquotable(#[from] Unquotable),
    /// The new data directory can't be asked for its number.
    #[error(transparent)]
    ControlFile(#[from] ControlFileError),
    /// The archive is not there, or another cluster's.
    #[error(transparent)]
    Archive(#[from] LabelError),
    /// The server of an interrupted run can't be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// Whether a server runs can't be told.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// The server does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refuses what is to be set up in it.
    #[error("setting up roles and the schema manada: {}", server_message(source))]
    Sql {
        /// The server's word.
        source: tokio_postgres::Error,
    },
    /// The join token can't be made.
    #[error(transparent)]
    Token(#[from] IssueTokenError),
    /// `manada.toml` can't be used.
    #[error(transparent)]
    NodeFile(#[from] NodeFileError),
}

/// Makes the herd. Broken off at any point, a second run takes up what is there; on failure the
/// server that was started is stopped.
pub async fn create(
    programs: &ServerPrograms,
    new: &NewHerd,
    progress: &(dyn Fn(CreateStep) + Send + Sync),
) -> Result<Created, CreateError> {
    let user = OsUser::for_new_server()?;
    prepare_home(new, &user)?;
    let _lock = new.home.lock(&user)?;
    let files = HomeFiles {
        home: &new.home,
        user: &user,
    };
    prove_free(&new.addresses, new.port)?;
    files
        .write(&new.home.unfinished_mark(), UNFINISHED)
        .map_err(ServerFilesError::from)?;

    progress(CreateStep::MakingDataDirectory);
    let key_fingerprint = make_data_and_keys(programs, new, &user).await?;

    progress(CreateStep::WritingSettings);
    let manada = program_for_server(&new.manada, &new.home, &user)?;
    let mut file = node_file(programs, new);
    let member = first_member(new, key_fingerprint);
    let passwords = files
        .passwords(REPLICATION_ROLE)
        .unwrap_or_else(NodePasswords::random);
    files
        .write_passwords(REPLICATION_ROLE, &passwords)
        .map_err(ServerFilesError::from)?;
    let mut settings = managed::shared(&file, &new.home);
    for setting in managed::listening(&file)
        .into_iter()
        .chain(managed::own_server(&file))
    {
        settings.set(setting);
    }
    let wal = file.data_directory.join("pg_wal");
    settings.set(managed::slot_bound(&wal).map_err(HomeError::io("see the free space at", &wal))?);
    if let Some(directory) = &new.archive_directory {
        let control = ControlFile::read(&file.data_directory)?;
        archive::create(directory, control.system_identifier)?;
        prove_writable(directory, &user)?;
        for setting in managed::archive(&manada, directory)? {
            settings.set(setting);
        }
    }
    write_server_files(&file, &user, &settings, std::slice::from_ref(&member))?;

    progress(CreateStep::Starting);
    let started =
        StartedServer::start(programs, &file.data_directory, &new.home.log_file()).await?;

    progress(CreateStep::MakingRoles);
    let mut node = Node {
        home: new.home.clone(),
        file: file.clone(),
    };
    let session = Session::open_as(&node.superuser(), Some(node.peer()?)).await?;
    let schema = Schema {
        replication_role: REPLICATION_ROLE,
        passwords: &passwords,
        manada: &manada,
        home: &new.home,
        primary: &member,
    };
    file.system_identifier = set_up(&session, &schema).await?;
    node.file = file;
    let token = issue_token(&node, &session, new.token_lifetime, Timestamp::now()).await?;

    node.file.write(&new.home.node_file(), files.owner())?;
    std::fs::remove_file(new.home.unfinished_mark())
        .map_err(HomeError::io("remove", &new.home.unfinished_mark()))?;
    started.keep();
    Ok(Created { node, token })
}

/// Makes the home, proves that nothing of somebody else's is in it, and stops the server that an
/// interrupted run left.
fn prepare_home(new: &NewHerd, user: &OsUser) -> Result<(), CreateError> {
    if new.home.node_file().exists() {
        let present = NodeFile::read(&new.home.node_file())?;
        return Err(CreateError::NodeExists {
            home: new.home.path().to_path_buf(),
            herd: present.herd,
            name: present.name,
        });
    }
    let data = new.home.data();
    if data.exists() {
        // A join that broke off leaves a standby there, which is none of ours.
        let mark = std::fs::read_to_string(new.home.unfinished_mark());
        if !mark.is_ok_and(|mark| mark == UNFINISHED) {
            return Err(CreateError::DataNotOurs { path: data });
        }
        if running(&data)?.is_some() {
            stop(&data, StopMode::Fast, STOPPED_WITHIN)?;
        }
    }
    Ok(new.home.create(user)?)
}

/// The two slow things at once. Gives the fingerprint of the node's key.
async fn make_data_and_keys(
    programs: &ServerPrograms,
    new: &NewHerd,
    user: &OsUser,
) -> Result<String, CreateError> {
    let data = tokio::task::spawn_blocking({
        let (programs, data_directory) = (programs.clone(), new.home.data());
        move || {
            if data_directory.join("PG_VERSION").exists() {
                return Ok(());
            }
            let cluster = NewCluster {
                data_directory: &data_directory,
                superuser: SUPERUSER,
                // Nobody needs it: the superuser comes through the socket.
                password: &Secret::random(),
                wal_segment_megabytes: None,
            };
            initdb(&programs, &cluster).map(|_| ())
        }
    });
    let keys = tokio::task::spawn_blocking({
        let (new, user) = (new.clone(), user.clone());
        move || {
            let files = HomeFiles {
                home: &new.home,
                user: &user,
            };
            of_first_node(&files, &new.herd, &new.name, &new.addresses)
        }
    });
    let (data, keys) = tokio::join!(data, keys);
    data.expect("making a data directory does not panic")?;
    Ok(keys.expect("making keys does not panic")?)
}

fn node_file(programs: &ServerPrograms, new: &NewHerd) -> NodeFile {
    let data = new.home.data();
    NodeFile {
        herd: new.herd.clone(),
        name: new.name.clone(),
        addresses: new.addresses.clone(),
        port: new.port,
        // Said by the server once it runs; the file is written after that.
        system_identifier: SystemIdentifier(0),
        config_file: data.join("postgresql.conf"),
        hba_file: data.join("pg_hba.conf"),
        data_directory: data,
        bin_dir: programs.bin_dir().to_path_buf(),
        superuser: SUPERUSER.to_owned(),
        replication_role: REPLICATION_ROLE.to_owned(),
        socket_directory: new.home.socket_directory(),
        archive_directory: new.archive_directory.clone(),
        adopted: false,
        protect: None,
    }
}

fn first_member(new: &NewHerd, key_fingerprint: String) -> Member {
    Member {
        name: new.name.clone(),
        host: new.addresses[0].clone(),
        port: new.port,
        addresses: new.addresses.clone(),
        key_fingerprint,
    }
}

/// Makes roles and schema in one round trip, and asks for the cluster's number along with it.
pub(crate) async fn set_up(
    session: &Session,
    schema: &Schema<'_>,
) -> Result<SystemIdentifier, CreateError> {
    use tokio_postgres::SimpleQueryMessage;
    let sql = format!(
        "{}SELECT system_identifier FROM pg_control_system();",
        schema.sql()?
    );
    let messages = session
        .simple_query(&sql)
        .await
        .map_err(|source| CreateError::Sql { source })?;
    let identifier = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(identifier.expect("pg_control_system() gives a number"))
}

/// The path of a directory for archives that must be there, absolute.
pub fn archive_directory(path: &Path) -> Result<PathBuf, HomeError> {
    std::path::absolute(path).map_err(HomeError::io("find", path))
}
