//! The role that plays the practice over TCP, and that students connect as.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use manada_postgres::{Secret, Session};

use super::home::LabHome;
use super::server::Server;
use crate::error::Failure;

/// The role.
const ROLE: &str = "lab";
/// The database it works in.
const DATABASE: &str = "postgres";
/// The file with its password, in the lab's directory.
const PASSFILE: &str = "passfile";

/// The lab's own role: it may write, and look at replication; it is no superuser.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    passfile: PathBuf,
    password: Secret,
}

impl Account {
    /// Thinks of a password and leaves it in a file that only this user can read.
    pub(crate) fn new(home: &LabHome) -> Result<Account, Failure> {
        let passfile = home.path().join(PASSFILE);
        let password = Secret::random();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&passfile)
            .and_then(|mut file| {
                writeln!(file, "127.0.0.1:*:*:{ROLE}:{}", password.reveal())?;
                file.sync_all()
            })
            .map_err(|error| {
                Failure::failed(format!("can't write {}", passfile.display())).because(error)
            })?;
        Ok(Account { passfile, password })
    }

    pub(crate) fn role(&self) -> &'static str {
        ROLE
    }

    pub(crate) fn database(&self) -> &'static str {
        DATABASE
    }

    pub(crate) fn passfile(&self) -> &Path {
        &self.passfile
    }

    /// Makes the role.
    pub(crate) async fn create(&self, primary: &Server, admin: &Session) -> Result<(), Failure> {
        // The server is sent the verifier: the password itself never gets into its log.
        let verifier = self.password.scram_verifier();
        let statement = format!(
            "CREATE ROLE {ROLE} LOGIN PASSWORD '{verifier}'; \
             GRANT pg_monitor TO {ROLE}; \
             GRANT CREATE ON SCHEMA public TO {ROLE}"
        );
        admin
            .batch_execute(&statement)
            .await
            .map_err(|error| primary.refused("CREATE ROLE lab", &error))
    }
}
