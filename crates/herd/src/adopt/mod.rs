//! Taking over a running server as the primary of a new herd, with all that is in it.

mod facts;
mod plan;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use manada_model::{HerdName, NodeName, ServerVersion};
use manada_postgres::address::HostAddress;
use manada_postgres::conninfo::Endpoint;
use manada_postgres::os_user::{OsUser, OsUserError};
use manada_postgres::process::{
    READY_WITHIN, RestartError, RunningError, RunningServer, restart, running,
};
use manada_postgres::quote::Unquotable;
use manada_postgres::replace_file::{FileOwner, ReplaceFileError, replace_file};
use manada_postgres::session::server_message;
use manada_postgres::settings::{ManagedSettings, Setting, SettingsError, with_include};
use manada_postgres::transport::Peer;
use manada_postgres::{ConnectError, Conninfo, Session};
use manada_wal::archive::{self, LabelError};

pub use plan::{AdoptSettingsError, Change, OverriddenBy, Unfit};

use crate::access;
use crate::create::{CreateError, set_up};
use crate::home::{Home, HomeError, prove_writable};
use crate::identity::{IdentityError, of_first_node};
use crate::managed;
use crate::member::Member;
use crate::node::{HomeFiles, Node, program_for_server, program_path_for_server};
use crate::node_file::{NodeFile, NodeFileError};
use crate::schema::{
    DATABASE, JOIN_ROLE, MONITOR_ROLE, NodePasswords, Schema, TOKEN_LIFETIME, admit_source,
};
use crate::server_files::{ServerFilesError, read, write_access_block};
use crate::token::Token;
use crate::token_issue::{IssueTokenError, issue_token};
use facts::Facts;
use plan::Wish;

/// The superusers that are tried, after the one named as the server's own user.
const SUPERUSER: &str = "postgres";

/// How long a reload is given to be in force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Which server is to be adopted, and as what.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Where the node is to live.
    pub home: Home,
    /// The herd's name.
    pub herd: HerdName,
    /// The node's name.
    pub name: NodeName,
    /// How other hosts reach it, the preferred one first. Not empty.
    pub addresses: Vec<HostAddress>,
    /// The running server's data directory.
    pub data_directory: PathBuf,
    /// Where WAL is to be archived, if it is.
    pub archive_directory: Option<PathBuf>,
    /// Whether a certificate that clients may rely on is replaced.
    pub replace_certificate: bool,
    /// The `manada` program, which the server runs to admit nodes and to archive.
    pub manada: PathBuf,
}

/// The server can't be adopted, or it failed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// No server runs there.
    #[error("no server runs on {}: it is adopted while it runs", data_directory.display())]
    NotRunning {
        /// The data directory.
        data_directory: PathBuf,
    },
    /// Whether a server runs can't be told.
    #[error(transparent)]
    Running(#[from] RunningError),
    /// We may not act as the server's user.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// No way in as a superuser.
    #[error("no superuser gets in through the socket as the system's user {user}: {source}")]
    NoWayIn {
        /// The server's user.
        user: String,
        /// The last try's outcome.
        source: Box<ConnectError>,
    },
    /// The server refuses a question.
    #[error("asking the server: {}", server_message(source))]
    Sql {
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// The server is not fit to be adopted as it is.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The home is another node's.
    #[error("{} is the home of another server's node, {name}", home.display())]
    HomeTaken {
        /// The home.
        home: PathBuf,
        /// That node.
        name: NodeName,
    },
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The archive is not there, or another cluster's.
    #[error(transparent)]
    Archive(#[from] LabelError),
    /// Keys and certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A configuration file.
    #[error(transparent)]
    Files(#[from] ServerFilesError),
    /// `manada.conf`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] ReplaceFileError),
    /// A name or path can't be written where it must be.
    #[error("a name or path can't be used: {0}")]
    Unquotable(#[from] Unquotable),
    /// Roles and schema.
    #[error(transparent)]
    SetUp(#[from] CreateError),
    /// The server finds mistakes in the files as they are now; they were put back.
    #[error("the server would not take its files, which are as they were again: {mistakes}")]
    Mistakes {
        /// What it says.
        mistakes: String,
    },
    /// What was set is not in force.
    #[error("the settings were reloaded, but a node does not get in: {source}")]
    NotInForce {
        /// The last try's outcome.
        source: ConnectError,
    },
    /// The restart failed.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// `manada.toml` can't be used.
    #[error(transparent)]
    NodeFile(#[from] NodeFileError),
    /// The join token can't be made.
    #[error(transparent)]
    Token(#[from] IssueTokenError),
}

impl From<AdoptSettingsError> for AdoptError {
    fn from(error: AdoptSettingsError) -> AdoptError {
        match error {
            AdoptSettingsError::Unfit(unfit) => AdoptError::Unfit(unfit),
            AdoptSettingsError::Unquotable(unquotable) => AdoptError::Unquotable(unquotable),
        }
    }
}

fn sql(source: tokio_postgres::Error) -> AdoptError {
    AdoptError::Sql { source }
}

/// All that an adoption would do. Making it changes nothing.
#[derive(Debug)]
pub struct AdoptPlan {
    /// What changes, in the order in which it is done. Empty where all is done already.
    pub changes: Vec<Change>,
    /// The settings that are in force only after a restart.
    pub waiting_for_restart: Vec<Setting>,
    /// The server's version.
    pub version: ServerVersion,
    node: Node,
    server: RunningServer,
    user: OsUser,
    settings: ManagedSettings,
    members: Vec<Member>,
    manada: PathBuf,
}

/// An adopted server.
#[derive(Debug)]
pub struct Adopted {
    /// The primary.
    pub node: Node,
    /// What a newcomer needs, where something was changed. A secret.
    pub token: Option<Token>,
    /// The settings that are not in force before a restart; empty after one.
    pub waiting_for_restart: Vec<Setting>,
}

impl AdoptPlan {
    /// Looks at the server and says what adopting it would change.
    pub async fn make(adoption: &Adoption) -> Result<AdoptPlan, AdoptError> {
        let data_directory = adoption.data_directory.as_path();
        let server = running(data_directory)?.ok_or_else(|| AdoptError::NotRunning {
            data_directory: data_directory.to_path_buf(),
        })?;
        let user = OsUser::of_data_directory(&server.data_directory)?;
        let session = way_in(&server, &user).await?;
        let facts = Facts::read(&session).await.map_err(sql)?;
        fit(&facts)?;
        let replication_role = plan::replication_role(&facts)?;
        let node = Node {
            home: adoption.home.clone(),
            file: node_file(adoption, &server, &facts, replication_role)?,
        };
        let before = present_node(&node)?;

        let manada = program_path_for_server(&adoption.manada, &adoption.home, &user)?;
        let wal = server.data_directory.join("pg_wal");
        let wish = Wish {
            home: &adoption.home,
            addresses: &adoption.addresses,
            replace_certificate: adoption.replace_certificate,
            archive: adoption
                .archive_directory
                .as_deref()
                .map(|directory| (manada.as_path(), directory)),
            slot_bound: managed::slot_bound(&wal)
                .map_err(HomeError::io("see the free space at", &wal))?,
        };
        let present = ManagedSettings::read(&node.file.settings_file())?;
        let settings = plan::settings(&facts, &present, &wish)?;
        let members = members(&session, &facts, &node, before.as_ref()).await?;

        let mut changes = Vec::new();
        if before.as_ref() != Some(&node.file) {
            changes.push(Change::Home {
                path: adoption.home.path().to_path_buf(),
            });
        }
        for name in [replication_role, MONITOR_ROLE, JOIN_ROLE] {
            if !facts.roles.contains_key(name) {
                changes.push(Change::Role {
                    name: name.to_owned(),
                });
            }
        }
        let source = admit_source(&manada, &adoption.home)?;
        if facts.admit_source.as_ref() != Some(&source) {
            changes.push(Change::Schema);
        }
        let block = access::block(&node.file, &members).render()?;
        if !read(&node.file.hba_file)?.contains(&block) {
            changes.push(Change::AccessRules {
                path: node.file.hba_file.clone(),
                block,
            });
        }
        changes.extend(plan::setting_changes(&facts, &present, &settings));
        if with_include(&read(&node.file.config_file)?).is_some() {
            changes.push(Change::Include {
                path: node.file.config_file.clone(),
            });
        }
        Ok(AdoptPlan {
            changes,
            waiting_for_restart: plan::waiting_for_restart(&facts, &settings),
            version: facts.version,
            node,
            server,
            user,
            settings,
            members,
            manada: adoption.manada.clone(),
        })
    }

    /// The node that the server will be.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether there is nothing to change and no restart to wait for.
    pub fn is_done(&self) -> bool {
        self.changes.is_empty() && self.waiting_for_restart.is_empty()
    }

    /// Does it. Broken off at any point, a new plan says what is left. With `may_restart`, the
    /// server is restarted where settings wait for it, by whoever watches over it.
    pub async fn run(self, may_restart: bool) -> Result<Adopted, AdoptError> {
        let changed = !self.changes.is_empty();
        if changed {
            self.change().await?;
        }
        let mut waiting_for_restart = self.waiting_for_restart;
        if may_restart && !waiting_for_restart.is_empty() {
            let data_directory = self.server.data_directory.clone();
            let log_file = self.node.home.log_file();
            tokio::task::spawn_blocking(move || restart(&data_directory, &log_file, READY_WITHIN))
                .await
                .expect("restarting a server does not panic")?;
            waiting_for_restart.clear();
        }
        let token = if changed {
            let session = way_in(&self.server, &self.user).await?;
            Some(issue_token(&self.node, &session, TOKEN_LIFETIME, Timestamp::now()).await?)
        } else {
            None
        };
        Ok(Adopted {
            node: self.node,
            token,
            waiting_for_restart,
        })
    }

    async fn change(&self) -> Result<(), AdoptError> {
        let Node { home, file } = &self.node;
        home.create(&self.user)?;
        let _lock = home.lock(&self.user)?;
        let files = HomeFiles {
            home,
            user: &self.user,
        };
        let manada = program_for_server(&self.manada, home, &self.user)?;
        if let Some(directory) = &file.archive_directory {
            archive::create(directory, file.system_identifier)?;
            prove_writable(directory, &self.user)?;
        }
        let mut members = self.members.clone();
        members[0].key_fingerprint =
            of_first_node(&files, &file.herd, &file.name, &file.addresses)?;
        let passwords = files
            .passwords(&file.replication_role)
            .unwrap_or_else(NodePasswords::random);
        files.write_passwords(&file.replication_role, &passwords)?;

        let session = way_in(&self.server, &self.user).await?;
        let schema = Schema {
            replication_role: &file.replication_role,
            passwords: &passwords,
            manada: &manada,
            home,
            primary: &members[0],
        };
        set_up(&session, &schema).await?;
        self.write_settings(&session).await?;
        self.write_access_rules(&session, &members).await?;
        self.prove_in_force().await?;
        Ok(file.write(&home.node_file(), files.owner())?)
    }

    /// Writes `manada.conf` and its include, and has them read; puts them back where the server
    /// finds mistakes in them.
    async fn write_settings(&self, session: &Session) -> Result<(), AdoptError> {
        let file = &self.node.file;
        let settings_file = file.settings_file();
        let config_before = read(&file.config_file)?;
        let before = ManagedSettings::read(&settings_file)?;
        let owner = owner_of(&file.config_file)?;
        self.settings.write(&settings_file, owner)?;
        if let Some(text) = with_include(&config_before) {
            replace_file(&file.config_file, &text, owner)?;
        }
        let mistakes = mistakes_in_settings(session, &settings_file)
            .await
            .map_err(sql)?;
        if !mistakes.is_empty() {
            replace_file(&file.config_file, &config_before, owner)?;
            before.write(&settings_file, owner)?;
            return Err(AdoptError::Mistakes { mistakes });
        }
        // TLS is to be on before there are rules that speak of it.
        reload(session).await.map_err(sql)?;
        let deadline = tokio::time::Instant::now() + IN_FORCE_WITHIN;
        while !is_tls_on(session).await.map_err(sql)? && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// Writes the block in `pg_hba.conf`, and has it read; puts it back likewise.
    async fn write_access_rules(
        &self,
        session: &Session,
        members: &[Member],
    ) -> Result<(), AdoptError> {
        let file = &self.node.file;
        let before = read(&file.hba_file)?;
        let owner = owner_of(&file.hba_file)?;
        write_access_block(file, members)?;
        let mistakes = mistakes_in_rules(session).await.map_err(sql)?;
        if !mistakes.is_empty() {
            replace_file(&file.hba_file, &before, owner)?;
            return Err(AdoptError::Mistakes { mistakes });
        }
        reload(session).await.map_err(sql)
    }

    /// Waits until a node gets in as nodes do: over TLS, with a certificate of the herd.
    async fn prove_in_force(&self) -> Result<(), AdoptError> {
        let waits = |name: &str| {
            self.waiting_for_restart
                .iter()
                .any(|setting| setting.name == name)
        };
        if waits("listen_addresses") {
            // Where it will listen, nobody gets in before the restart.
            return Ok(());
        }
        // The first address may be a router's, which need not lead back in.
        let mut conninfo = self.node.monitor(self.node.endpoint());
        conninfo
            .endpoints
            .push(Endpoint::tcp("localhost", self.node.file.port));
        let deadline = tokio::time::Instant::now() + IN_FORCE_WITHIN;
        loop {
            match Session::open(&conninfo).await {
                Ok(_) => return Ok(()),
                Err(source) if tokio::time::Instant::now() >= deadline => {
                    return Err(AdoptError::NotInForce { source });
                }
                Err(_) => tokio::time::sleep(BETWEEN_LOOKS).await,
            }
        }
    }
}

/// A superuser's session through the socket: as the role named as the server's own user, else as
/// `postgres`.
async fn way_in(server: &RunningServer, user: &OsUser) -> Result<Session, AdoptError> {
    let peer = Peer {
        uid: user.uid(),
        gid: user.gid(),
    };
    let directory = server.socket_directory.clone().unwrap_or("/tmp".into());
    let mut roles = vec![user.name()];
    if user.name() != SUPERUSER {
        roles.push(SUPERUSER);
    }
    let mut last = None;
    for role in roles {
        let mut conninfo = Conninfo::unix(&directory, server.port, role)
            .with_dbname(DATABASE)
            .with_application_name("manada");
        conninfo.options = Some(crate::node::OUR_SETTINGS.to_owned());
        match Session::open_as(&conninfo, Some(peer)).await {
            Ok(session) => return Ok(session),
            Err(error) => last = Some(error),
        }
    }
    Err(AdoptError::NoWayIn {
        user: user.name().to_owned(),
        source: Box::new(last.expect("at least one role was tried")),
    })
}

fn fit(facts: &Facts) -> Result<(), Unfit> {
    facts.version.major()?;
    if facts.in_recovery {
        return Err(Unfit::Standby);
    }
    if !facts.is_superuser {
        return Err(Unfit::NoSuperuser {
            role: facts.superuser.clone(),
        });
    }
    Ok(())
}

fn node_file(
    adoption: &Adoption,
    server: &RunningServer,
    facts: &Facts,
    replication_role: &str,
) -> Result<NodeFile, AdoptError> {
    // The running program itself says where its kind is.
    let exe = PathBuf::from(format!("/proc/{}/exe", server.pid));
    let program = std::fs::read_link(&exe).map_err(HomeError::io("look at", &exe))?;
    Ok(NodeFile {
        herd: adoption.herd.clone(),
        name: adoption.name.clone(),
        addresses: adoption.addresses.clone(),
        port: facts.port,
        system_identifier: facts.system_identifier,
        data_directory: facts.data_directory.clone(),
        config_file: facts.config_file.clone(),
        hba_file: facts.hba_file.clone(),
        bin_dir: program.parent().unwrap_or(Path::new("/")).to_path_buf(),
        superuser: facts.superuser.clone(),
        replication_role: replication_role.to_owned(),
        socket_directory: server.socket_directory.clone().unwrap_or("/tmp".into()),
        archive_directory: adoption.archive_directory.clone(),
        adopted: true,
        protect: None,
    })
}

/// What the home says already; an error where that is about another server.
fn present_node(node: &Node) -> Result<Option<NodeFile>, AdoptError> {
    if !node.home.node_file().exists() {
        return Ok(None);
    }
    let present = NodeFile::read(&node.home.node_file())?;
    let same = present.system_identifier == node.file.system_identifier
        && present.data_directory == node.file.data_directory;
    if same {
        Ok(Some(present))
    } else {
        Err(AdoptError::HomeTaken {
            home: node.home.path().to_path_buf(),
            name: present.name,
        })
    }
}

/// The herd's members, this server first; the others are there where it was adopted before.
async fn members(
    session: &Session,
    facts: &Facts,
    node: &Node,
    before: Option<&NodeFile>,
) -> Result<Vec<Member>, AdoptError> {
    let file = &node.file;
    let mut members = vec![Member {
        name: file.name.clone(),
        host: file.address().clone(),
        port: file.port,
        addresses: file.addresses.clone(),
        // Known once there is a key.
        key_fingerprint: String::new(),
    }];
    if facts.schema.is_some() {
        let known = crate::member::members(session).await.map_err(sql)?;
        let former_name = before.map(|before| &before.name);
        members.extend(
            known
                .into_iter()
                .filter(|member| member.name != file.name && Some(&member.name) != former_name),
        );
    }
    Ok(members)
}

fn owner_of(path: &Path) -> Result<FileOwner, ReplaceFileError> {
    FileOwner::like(path).map_err(|source| ReplaceFileError {
        path: path.to_path_buf(),
        source,
    })
}

async fn reload(session: &Session) -> Result<(), tokio_postgres::Error> {
    session.batch_execute("SELECT pg_reload_conf()").await
}

async fn is_tls_on(session: &Session) -> Result<bool, tokio_postgres::Error> {
    let query = "SELECT current_setting('ssl')::boolean";
    Ok(session.query_one(query, &[]).await?.get(0))
}

/// What the server would not take of `manada.conf`; empty where all is well.
async fn mistakes_in_settings(
    session: &Session,
    settings_file: &Path,
) -> Result<String, tokio_postgres::Error> {
    // A setting that waits for a restart is reported as an error, too.
    let query = "SELECT coalesce(string_agg( \
             format('%s, line %s: %s', sourcefile, sourceline, error), '; '), '') \
         FROM pg_file_settings AS line WHERE error IS NOT NULL AND sourcefile = $1 \
         AND NOT EXISTS (SELECT FROM pg_settings AS known \
                         WHERE known.name = line.name AND context = 'postmaster')";
    let path = settings_file.to_string_lossy().into_owned();
    Ok(session.query_one(query, &[&path]).await?.get(0))
}

/// What the server would not take of `pg_hba.conf`; empty where all is well.
async fn mistakes_in_rules(session: &Session) -> Result<String, tokio_postgres::Error> {
    let query = "SELECT coalesce(string_agg( \
             format('pg_hba.conf, line %s: %s', line_number, error), '; '), '') \
         FROM pg_hba_file_rules WHERE error IS NOT NULL";
    Ok(session.query_one(query, &[]).await?.get(0))
}
