//! Becoming a standby: ask, check, be admitted, clone, start, and see it stream.

mod ask;
mod checks;
mod configure;
mod debian;
mod streaming;

use std::path::{Path, PathBuf};
use std::time::Duration;

use manada_model::NodeName;
use manada_postgres::Conninfo;
use manada_postgres::Secret;
use manada_postgres::address::HostAddress;
use manada_postgres::authority::{AuthorityError, fingerprint};
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::process::{RunningError, StartError, StopError, StopMode, running, stop};
use manada_postgres::programs::ServerPrograms;
use manada_postgres::quote::Unquotable;
use manada_postgres::replace_file::{FileOwner, ReplaceFileError, replace_file};
use manada_postgres::settings::{SettingsError, with_include};
use manada_wal::clone::{self, CloneError, CloneProgress, CloneReport, CloneRequest, CloneSlot};

pub use ask::{AskError, Invitation};
pub use checks::Obstacle;
pub use streaming::StreamingError;

use crate::admission::{Admission, Newcomer, Refusal};
use crate::home::{Home, HomeError};
use crate::identity::{IdentityError, own_key};
use crate::managed;
use crate::node::{HomeFiles, Node, program_for_server};
use crate::node_file::{NodeFile, NodeFileError};
use crate::ports::{PortTaken, prove_free};
use crate::power::{StartNodeError, start_node};
use crate::schema::NodePasswords;
use crate::server_files::{ServerFilesError, read, write_access_block};
use crate::started::StartedServer;
use configure::Standby;
use debian::DebianCluster;

/// How long a server that an interrupted run left is given to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// What the standby is to be.
#[derive(Clone, Debug)]
pub struct NewStandby {
    /// Where the node lives.
    pub home: Home,
    /// Its name.
    pub name: NodeName,
    /// How the others reach it, the preferred one first; where none is given, the address by which
    /// the primary sees this host.
    pub addresses: Vec<HostAddress>,
    /// The server's port.
    pub port: u16,
    /// PGDATA, where it is not to be in the home.
    pub data_directory: Option<PathBuf>,
    /// The `manada` program, which the server runs to archive and to restore.
    pub manada: PathBuf,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum JoinStep {
    /// The primary is asked to admit this node.
    AskingForAdmission,
    /// The primary's data is copied.
    Cloning(CloneProgress),
    /// The server is started.
    Starting,
    /// Until the primary sees it stream.
    WaitingForStream,
}

/// A new standby.
#[derive(Debug)]
pub struct Joined {
    /// The standby.
    pub node: Node,
    /// What was copied; `None` where an interrupted run had done so already.
    pub clone: Option<CloneReport>,
    /// What the person at the keyboard should know.
    pub notes: Vec<JoinNote>,
}

/// What a new standby does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinNote {
    /// The primary's access rules did not come along: clients can't reach this standby yet.
    AccessRulesNotCarried {
        /// Where to write them.
        hba_file: PathBuf,
    },
    /// The archive is not at the primary's path on this host: no restoring from it.
    ArchiveOutOfReach {
        /// The path.
        directory: PathBuf,
    },
}

/// This host did not become a standby.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The primary does not answer as it should.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// Something here is in the way.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// The primary's host does not admit this node.
    #[error("the primary does not admit this node: {0}")]
    Refused(#[from] Refusal),
    /// The port is in use.
    #[error(transparent)]
    Port(#[from] PortTaken),
    /// Nobody suitable runs servers here.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The node's key can't be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The authority that admitted this node is not the token's.
    #[error("the primary's host answered with another authority than the token's")]
    OtherAuthority,
    /// The authority's certificate is none.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
    /// A path can't be written where it must be.
    #[error("a name or path can't be used: {0}")]
    Unquotable(#[from] Unquotable),
    /// The data could not be copied.
    #[error("{0}")]
    Clone(#[from] CloneError),
    /// The server of an interrupted run can't be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// Whether a server runs can't be told.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// The standby does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The standby does not start by Debian's tools.
    #[error(transparent)]
    StartNode(#[from] StartNodeError),
    /// A configuration that was there can't be read or written.
    #[error(transparent)]
    Files(#[from] ServerFilesError),
    /// `manada.conf`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It runs and does not follow.
    #[error(transparent)]
    Streaming(#[from] StreamingError),
    /// `manada.toml` can't be written.
    #[error(transparent)]
    NodeFile(#[from] NodeFileError),
}

/// Makes this host a standby of the primary that gave the invitation. Broken off at any point, a
/// second run goes on; on failure the server that was started is stopped.
pub async fn join(
    invitation: &Invitation,
    programs: &ServerPrograms,
    new: &NewStandby,
    progress: &(dyn Fn(JoinStep) + Send + Sync),
) -> Result<Joined, JoinError> {
    let facts = invitation.facts();
    let user = OsUser::for_new_server()?;
    let data = new
        .data_directory
        .clone()
        .unwrap_or_else(|| new.home.data());
    let cluster = match &new.data_directory {
        Some(data) => DebianCluster::of(data, programs, &user),
        None => None,
    };
    let cloned = check(invitation, programs, new, &data, cluster.as_ref())?;
    new.home.create(&user)?;
    let _lock = new.home.lock(&user)?;
    let files = HomeFiles {
        home: &new.home,
        user: &user,
    };
    let addresses = if new.addresses.is_empty() {
        vec![HostAddress::Ip(facts.client_address.to_canonical())]
    } else {
        new.addresses.clone()
    };
    prove_free(&addresses, new.port)?;
    files.write(
        &new.home.unfinished_mark(),
        &format!("join\n{}\n", data.display()),
    )?;

    progress(JoinStep::AskingForAdmission);
    let key = own_key(&files)?;
    let newcomer = Newcomer {
        name: new.name.clone(),
        port: new.port,
        addresses,
        certificate_request: key.request().map_err(IdentityError::from)?,
    };
    let admission = invitation.request(newcomer).await??;
    write_admission(&files, invitation, &admission)?;

    let node = Node {
        home: new.home.clone(),
        file: node_file(
            invitation,
            programs,
            new,
            &data,
            cluster.as_ref(),
            &admission,
        ),
    };
    let manada = program_for_server(&new.manada, &new.home, &user)?;
    let mut notes = Vec::new();
    let standby = standby(invitation, &node, &user, &admission, &manada, &mut notes)?;
    if cluster.is_some() {
        write_cluster_files(&node, &standby)?;
    }
    let clone = if cloned {
        None
    } else {
        Some(copy(invitation, &node, &user, standby, progress).await?)
    };

    progress(JoinStep::Starting);
    let started = if cluster.is_some() {
        let node = node.clone();
        StartedServer::start_by(&data, move || start_node(&node)).await?
    } else {
        StartedServer::start(programs, &data, &new.home.log_file()).await?
    };

    progress(JoinStep::WaitingForStream);
    streaming::wait(&node, invitation.endpoints()[0].clone()).await?;

    node.file.write(&new.home.node_file(), files.owner())?;
    std::fs::remove_file(new.home.unfinished_mark())
        .map_err(HomeError::io("remove", &new.home.unfinished_mark()))?;
    started.keep();
    Ok(Joined { node, clone, notes })
}

/// Proves what can be proven before anything changes, and stops the server that an interrupted
/// run left. Says whether that run had finished the clone.
fn check(
    invitation: &Invitation,
    programs: &ServerPrograms,
    new: &NewStandby,
    data: &Path,
    cluster: Option<&DebianCluster>,
) -> Result<bool, JoinError> {
    let facts = invitation.facts();
    checks::home_is_free(&new.home)?;
    checks::same_major(facts, programs)?;
    if let Some(cluster) = cluster {
        cluster.has_room_for(facts)?;
    }
    let ours = std::fs::read_to_string(new.home.unfinished_mark())
        .is_ok_and(|mark| mark == format!("join\n{}\n", data.display()));
    // A clone gets its name when it is complete, with all its files in place.
    if ours && data.join("standby.signal").exists() {
        if running(data)?.is_some() {
            stop(data, StopMode::Fast, STOPPED_WITHIN)?;
        }
        return Ok(true);
    }
    checks::is_empty(data)?;
    checks::has_room(data, facts)?;
    Ok(false)
}

/// Keeps what an admitted node is given.
fn write_admission(
    files: &HomeFiles<'_>,
    invitation: &Invitation,
    admission: &Admission,
) -> Result<(), JoinError> {
    if fingerprint(&admission.authority)? != invitation.token().authority_fingerprint {
        return Err(JoinError::OtherAuthority);
    }
    // The certificate last: it says that the key is there.
    files.write(&files.home.ca_key(), &admission.authority_key)?;
    files.write_ca_certificate(&admission.authority)?;
    files.write(&files.home.server_certificate(), &admission.certificate)?;
    let passwords = NodePasswords {
        replication: Secret::new(admission.replication_password.as_str()),
        monitor: Secret::new(admission.monitor_password.as_str()),
    };
    Ok(files.write_passwords(&admission.replication_role, &passwords)?)
}

fn node_file(
    invitation: &Invitation,
    programs: &ServerPrograms,
    new: &NewStandby,
    data: &Path,
    cluster: Option<&DebianCluster>,
    admission: &Admission,
) -> NodeFile {
    let token = invitation.token();
    let (config_file, hba_file, socket_directory) = match cluster {
        Some(cluster) => (
            cluster.config_file.clone(),
            cluster.hba_file.clone(),
            cluster.socket_directory.clone(),
        ),
        None => (
            data.join("postgresql.conf"),
            data.join("pg_hba.conf"),
            new.home.socket_directory(),
        ),
    };
    NodeFile {
        herd: token.herd.clone(),
        name: new.name.clone(),
        addresses: admission.member.addresses.clone(),
        port: new.port,
        system_identifier: token.system_identifier,
        data_directory: data.to_path_buf(),
        config_file,
        hba_file,
        bin_dir: programs.bin_dir().to_path_buf(),
        superuser: invitation.facts().superuser.clone(),
        replication_role: admission.replication_role.clone(),
        socket_directory,
        archive_directory: admission
            .archive_directory
            .clone()
            .filter(|directory| directory.is_dir()),
        adopted: cluster.is_some(),
        protect: None,
    }
}

/// What the clone is given to be this standby.
fn standby(
    invitation: &Invitation,
    node: &Node,
    user: &OsUser,
    admission: &Admission,
    manada: &Path,
    notes: &mut Vec<JoinNote>,
) -> Result<Standby, JoinError> {
    let facts = invitation.facts();
    let mut settings = managed::shared(&node.file, &node.home);
    for setting in managed::listening(&node.file) {
        settings.set(setting);
    }
    if !node.file.adopted {
        for setting in managed::own_server(&node.file) {
            settings.set(setting);
        }
    }
    managed::at_least_the_primarys(&mut settings, &facts.settings);
    let parent = node.file.data_directory.parent().unwrap_or(Path::new("/"));
    let existing = parent
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    settings.set(
        managed::slot_bound(existing).map_err(HomeError::io("see the free space at", existing))?,
    );
    match (&admission.archive_directory, &node.file.archive_directory) {
        (Some(_), Some(directory)) => {
            for setting in managed::archive(manada, directory)? {
                settings.set(setting);
            }
        }
        (Some(directory), None) => notes.push(JoinNote::ArchiveOutOfReach {
            directory: directory.clone(),
        }),
        (None, _) => {}
    }
    for setting in managed::standby(&node.file, &node.home, &invitation.endpoints()) {
        settings.set(setting);
    }
    if !facts.config_in_data_directory || node.file.adopted {
        notes.push(JoinNote::AccessRulesNotCarried {
            hba_file: node.file.hba_file.clone(),
        });
    }
    Ok(Standby {
        node: node.file.clone(),
        user: user.clone(),
        settings,
        members: admission.members.clone(),
        primary: facts.settings.clone(),
    })
}

/// The configuration that Debian's tools keep: the same additions as for an adopted server.
fn write_cluster_files(node: &Node, standby: &Standby) -> Result<(), JoinError> {
    let file = &node.file;
    let owner = FileOwner::like(&file.config_file).map_err(|source| ReplaceFileError {
        path: file.config_file.clone(),
        source,
    })?;
    standby.settings.write(&file.settings_file(), owner)?;
    if let Some(text) = with_include(&read(&file.config_file)?) {
        replace_file(&file.config_file, &text, owner)?;
    }
    write_access_block(file, &standby.members)?;
    Ok(())
}

async fn copy(
    invitation: &Invitation,
    node: &Node,
    user: &OsUser,
    standby: Standby,
    progress: &(dyn Fn(JoinStep) + Send + Sync),
) -> Result<CloneReport, JoinError> {
    let endpoints = invitation.endpoints();
    let source = Conninfo {
        endpoints: endpoints.clone(),
        ..Conninfo::at(endpoints[0].clone(), &node.file.replication_role)
    }
    .with_passfile(node.home.passfile())
    .with_ssl(managed::node_tls(&node.home))
    .with_application_name("manada clone");
    let slot = CloneSlot::Existing(node.file.name.slot());
    let mut request = CloneRequest::new(source, node.file.data_directory.clone(), slot);
    request.owner = Some(user.clone());
    request.system_identifier = Some(node.file.system_identifier);
    request.configure = Some(Box::new(move |data| standby.files(data)));
    Ok(clone::run(request, |done| progress(JoinStep::Cloning(done))).await?)
}
