//! What the practice builds: the primary with its role, the standbys, the synchronous policy.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use manada_herd::{
    CreateError, CreateStep, Created, Home, Invitation, JoinError, JoinStep, Joined, NewHerd,
    NewStandby, Token, create, join,
};
use manada_model::{HerdName, StartFailure, StartTrouble};
use manada_postgres::Session;
use manada_postgres::address::HostAddress;
use manada_postgres::os_user::OsUser;
use manada_postgres::process::StartError;
use manada_postgres::programs::{Cache, FetchStep, ServerPrograms, Wanted, obtain};
use tokio_postgres::SimpleQueryMessage;

use super::account::Account;
use super::course::Course;
use super::demonstrate::first_value;
use super::home::LabHome;
use super::ports::Ports;
use super::screen::Screen;
use super::server::{Server, blocking};
use super::step::{StepId, Used};
use super::texts::Texts;
use crate::error::Failure;
use crate::ui::Ui;

/// The herd's name.
const HERD: &str = "lab";
/// The directory for archived WAL, in the lab's.
const ARCHIVE: &str = "archive";
/// How long the token for joining is good. Nobody but the lab itself uses it.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);
/// How often another port is tried because somebody else was faster.
const PORT_TRIES_MAX: u32 = 20;

/// What was set, as the server itself says: one row of file and line each.
const SETTINGS_IN_FORCE: &str = "\
SELECT 'postgresql.conf', string_agg(format('%s = %s', name,
         CASE vartype WHEN 'string' THEN quote_literal(setting) ELSE setting END), '   '
         ORDER BY name DESC)
  FROM pg_settings WHERE name IN ('listen_addresses', 'wal_level', 'max_wal_senders')
  GROUP BY vartype = 'string'
UNION ALL
SELECT 'pg_hba.conf', format('%s %s %s %s %s', type, array_to_string(database, ','),
         array_to_string(user_name, ','),
         address || CASE netmask WHEN '255.255.255.255' THEN '/32' ELSE ' ' || netmask END,
         auth_method)
  FROM pg_hba_file_rules WHERE 'replication' = ANY (database) AND 'replicator' = ANY (user_name)
UNION ALL
SELECT 'role', format('%s %s', rolreplication, rolsuper OR rolcreaterole OR rolcreatedb)
  FROM pg_roles WHERE rolname = 'replicator'";

/// Everything there is to build with.
pub(crate) struct Builder<'a> {
    pub(crate) ui: Ui,
    pub(crate) texts: &'static dyn Texts,
    pub(crate) home: &'a LabHome,
    pub(crate) programs: ServerPrograms,
    pub(crate) user: OsUser,
    pub(crate) ports: Ports,
}

/// Finds the server programs, or fetches them.
pub(crate) async fn programs(
    wanted: &Wanted,
    user: &OsUser,
    ui: Ui,
    screen: &mut Screen,
    texts: &dyn Texts,
) -> Result<ServerPrograms, Failure> {
    let running = screen.begin(StepId::Programs);
    let cache = Cache::of_this_user().map_err(|error| {
        Failure::failed("there is no place for a PostgreSQL to be fetched").because(error)
    })?;
    let (wanted, user) = (wanted.clone(), user.clone());
    let obtained = blocking(move || {
        let mut bar = None;
        obtain(&wanted, &user, &cache, &mut |step| match step {
            FetchStep::Downloading {
                artefact,
                bytes_done,
            } => bar
                .get_or_insert_with(|| {
                    ui.bytes_bar(artefact.bytes, &format!("PostgreSQL {}", artefact.version))
                })
                .set_position(bytes_done),
            FetchStep::WaitingForAnother | FetchStep::Unpacking { .. } => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
        })
    });
    let programs = obtained.await.map_err(|error| {
        Failure::failed("there is no PostgreSQL to play with")
            .because(error)
            .next("install PostgreSQL 15 to 18, or name its programs: manada lab --pg BINDIR")
    })?;
    let used = vec![Used::line("bin", programs.bin_dir().display().to_string())];
    screen.done(
        running,
        texts.programs(&programs.version().to_string()),
        used,
    );
    Ok(programs)
}

impl Builder<'_> {
    /// The primary, its role for replication, and the lab's own.
    pub(crate) async fn primary(
        &self,
        account: &Account,
        screen: &mut Screen,
    ) -> Result<(Server, Session, Token), Failure> {
        let running = screen.begin(StepId::Primary);
        let begun = Instant::now();
        let making_roles = OnceLock::new();
        let Created { node, token } = self
            .create(&|step| match step {
                CreateStep::MakingRoles => {
                    making_roles.get_or_init(Instant::now);
                }
                CreateStep::MakingDataDirectory
                | CreateStep::WritingSettings
                | CreateStep::Starting => {}
            })
            .await?;
        let server = Server {
            node,
            programs: self.programs.clone(),
        };
        let admin = server.superuser_session().await?;
        account.create(&server, &admin).await?;
        let (set, role) = in_force(&server, &admin).await?;

        let roles_begun = making_roles.get().copied().unwrap_or_else(Instant::now);
        let title = self
            .texts
            .primary(server.name().as_str(), &server.address());
        screen.done_after(running, roles_begun - begun, title, set);
        let running = screen.begin(StepId::Role);
        let title = self.texts.role("replicator");
        screen.done_after(running, roles_begun.elapsed(), title, role);
        Ok((server, admin, token))
    }

    async fn create(
        &self,
        progress: &(dyn Fn(CreateStep) + Send + Sync),
    ) -> Result<Created, Failure> {
        let name = super::node_name(1);
        let archive = self.home.path().join(ARCHIVE);
        self.user
            .create_private_directory(&archive)
            .map_err(|error| {
                Failure::failed(format!("can't make {}", archive.display())).because(error)
            })?;
        let mut new = NewHerd {
            home: self.node_home(1)?,
            herd: herd_name(),
            name,
            addresses: vec!["127.0.0.1".parse::<HostAddress>().expect("an address")],
            port: self.port()?,
            archive_directory: Some(archive),
            manada: own_program()?,
            token_lifetime: TOKEN_LIFETIME,
        };
        for _ in 1..PORT_TRIES_MAX {
            match create(&self.programs, &new, progress).await {
                Ok(created) => return Ok(created),
                Err(error) if port_was_taken(&error) => new.port = self.port()?,
                Err(error) => return Err(self.not_built("primary", error)),
            }
        }
        Err(no_port())
    }

    /// The standbys: cloned at the same time, started, and seen to stream.
    pub(crate) async fn standbys(
        &self,
        primary: &Server,
        token: &Token,
        count: usize,
        account: &Account,
        screen: &mut Screen,
    ) -> Result<Vec<Server>, Failure> {
        let mut running = screen.begin(StepId::Clone);
        let begun = Instant::now();
        let invitation = Invitation::ask(token, jiff::Timestamp::now())
            .await
            .map_err(|error| self.not_built("standby", error))?;
        let plans = (0..count)
            .map(|index| {
                let name = super::node_name(index + 2);
                Ok(NewStandby {
                    home: self.node_home(index + 2)?,
                    name,
                    addresses: primary.node.file.addresses.clone(),
                    port: self.port()?,
                    data_directory: None,
                    manada: own_program()?,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let bar = running.bar(self.ui, self.texts.doing(StepId::Clone));
        let course = Course::new(count, bar);
        let joins = plans
            .into_iter()
            .enumerate()
            .map(|(index, plan)| self.standby(&invitation, plan, &course, index));
        let joined = try_join_all(joins).await?;

        let cloned_at = course.cloned_at();
        let bytes = joined
            .iter()
            .filter_map(|joined| joined.clone.as_ref())
            .map(|clone| clone.bytes)
            .sum();
        let standbys: Vec<Server> = joined
            .into_iter()
            .map(|joined| Server {
                node: joined.node,
                programs: self.programs.clone(),
            })
            .collect();
        let names = super::demonstrate::names(&standbys);
        let first = &standbys[0];
        let used = vec![Used::command(format!(
            "pg_basebackup -h 127.0.0.1 -p {} -U replicator -D …/{}/data -R -P",
            primary.node.file.port,
            first.name()
        ))];
        screen.done_after(
            running,
            cloned_at - begun,
            self.texts
                .cloned(&names, &indicatif::HumanBytes(bytes).to_string()),
            used,
        );

        let running = screen.begin(StepId::Follow);
        let used = self.following(primary, &standbys, account).await?;
        let title = self.texts.following(&names, count, primary.name().as_str());
        screen.done_after(running, cloned_at.elapsed(), title, used);
        Ok(standbys)
    }

    /// What makes the first standby follow, as it says itself, and what the primary says of it.
    async fn following(
        &self,
        primary: &Server,
        standbys: &[Server],
        account: &Account,
    ) -> Result<Vec<Used>, Failure> {
        let first = &standbys[0];
        let session = first.session(account).await?;
        let query =
            "SELECT current_setting('hot_standby') || ' ' || current_setting('primary_conninfo')";
        let set = first_value(&session, query)
            .await
            .map_err(|error| first.refused(query, &error))?
            .unwrap_or_default();
        let (hot_standby, conninfo) = set.split_once(' ').unwrap_or((&set, ""));
        let replication = "SELECT application_name, state FROM pg_stat_replication;";
        let session = primary.session(account).await?;
        let rows = session
            .simple_query(replication)
            .await
            .map_err(|error| primary.refused(replication, &error))?;
        let streaming: Vec<&str> = rows
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) if row.get(1) == Some("streaming") => row.get(0),
                _ => None,
            })
            .collect();
        for standby in standbys {
            if !streaming.contains(&standby.name().as_str()) {
                return Err(
                    standby.failure("does not stream", format!("the primary sees {streaming:?}"))
                );
            }
        }
        Ok(vec![
            Used::line(
                first.name().as_str(),
                format!("hot_standby = {hot_standby}"),
            ),
            Used::line(
                first.name().as_str(),
                format!("primary_conninfo = '{}'", without_paths(conninfo)),
            ),
            Used::sql(primary.name(), replication).gives(format!("{} | streaming", first.name())),
        ])
    }

    async fn standby(
        &self,
        invitation: &Invitation,
        mut plan: NewStandby,
        course: &Course,
        index: usize,
    ) -> Result<Joined, Failure> {
        for _ in 1..PORT_TRIES_MAX {
            let progress = |step: JoinStep| course.follow(index, step);
            match join(invitation, &self.programs, &plan, &progress).await {
                Ok(joined) => return Ok(joined),
                Err(error) if standbys_port_was_taken(&error) => {
                    plan.port = self.ports.next_free().ok_or_else(no_port)?;
                    // Its settings name the port that was taken.
                    let data = plan.home.data();
                    if data.exists() {
                        std::fs::remove_dir_all(&data)
                            .map_err(|error| self.not_built("standby", error))?;
                    }
                }
                Err(error) => return Err(self.not_built("standby", error)),
            }
        }
        Err(no_port())
    }

    fn node_home(&self, number: usize) -> Result<Home, Failure> {
        let directory = self.home.path().join(super::node_name(number).as_str());
        Home::at(&directory).map_err(|error| self.not_built("node", error))
    }

    fn port(&self) -> Result<u16, Failure> {
        self.ports.next_free().ok_or_else(no_port)
    }

    fn not_built(&self, what: &str, error: impl std::fmt::Display) -> Failure {
        Failure::failed(format!("the {what} could not be made"))
            .because(error)
            .next("manada lab begins anew; manada lab rm removes what is there")
    }
}

/// The herd's name.
pub(crate) fn herd_name() -> HerdName {
    HERD.parse().expect("a valid name")
}

fn port_was_taken(error: &CreateError) -> bool {
    matches!(
        error,
        CreateError::Port(_)
            | CreateError::Start(StartError::Ended {
                trouble: StartTrouble {
                    failure: StartFailure::PortTaken,
                    ..
                },
                ..
            })
    )
}

fn standbys_port_was_taken(error: &JoinError) -> bool {
    matches!(
        error,
        JoinError::Port(_)
            | JoinError::Start(StartError::Ended {
                trouble: StartTrouble {
                    failure: StartFailure::PortTaken,
                    ..
                },
                ..
            })
    )
}

fn no_port() -> Failure {
    Failure::failed("no port is free for the lab's servers")
        .because("programs listen on all that were tried, from 5441 on")
        .next("stop some of them: ss -ltnp shows them")
}

/// The program that archives: this one.
fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::failed("can't tell where the manada program is").because(error))
}

/// What is in force on the primary, and what its role for replication may do.
async fn in_force(server: &Server, admin: &Session) -> Result<(Vec<Used>, Vec<Used>), Failure> {
    let refused = |error| server.refused("SELECT … FROM pg_settings", &error);
    let messages = admin
        .simple_query(SETTINGS_IN_FORCE)
        .await
        .map_err(refused)?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0)?, row.get(1)?)),
        _ => None,
    });
    let (mut set, mut role) = (Vec::new(), Vec::new());
    for (place, line) in rows {
        match (place, line) {
            ("role", "t f") => role.push(Used::sql(
                server.name(),
                "CREATE ROLE replicator WITH LOGIN REPLICATION PASSWORD '…';",
            )),
            ("role", other) => {
                return Err(server.failure("has a wrong role replicator", other));
            }
            (file, line) => set.push(Used::line(file, line)),
        }
    }
    if role.is_empty() {
        return Err(server.failure("has no role replicator", "CREATE ROLE did nothing"));
    }
    Ok((set, role))
}

/// A connection string with what fits a line: where, who, and under which name.
fn without_paths(conninfo: &str) -> String {
    let kept: Vec<&str> = conninfo
        .split(' ')
        .filter(|word| {
            let keyword = word.split('=').next();
            matches!(keyword, Some("host" | "port" | "user" | "application_name"))
        })
        .collect();
    format!("{} …", kept.join(" "))
}
