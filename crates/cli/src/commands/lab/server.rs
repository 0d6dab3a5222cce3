//! One server of the lab: how it is reached, stopped and brought back.

use std::time::{Duration, Instant};

use manada_herd::Node;
use manada_model::NodeName;
use manada_postgres::conninfo::{RootCertificate, SslMode, SslParameters};
use manada_postgres::process::{READY_WITHIN, STOPPED_WITHIN, StartOptions, StopMode, start, stop};
use manada_postgres::programs::ServerPrograms;
use manada_postgres::session::server_message;
use manada_postgres::{Conninfo, Session};

use super::account::Account;
use crate::error::Failure;

/// How long anything may take of which a practice waits until it is so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A server of the lab.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) programs: ServerPrograms,
}

impl Server {
    pub(crate) fn name(&self) -> &NodeName {
        &self.node.file.name
    }

    /// Where it listens, as `host:port`.
    pub(crate) fn address(&self) -> String {
        self.node.endpoint().to_string()
    }

    /// The way in for the lab's own role: TCP, TLS, the server's certificate checked, SCRAM.
    pub(crate) fn conninfo(&self, account: &Account) -> Conninfo {
        Conninfo::at(self.node.endpoint(), account.role())
            .with_dbname(account.database())
            .with_passfile(account.passfile())
            .with_ssl(SslParameters {
                mode: SslMode::VerifyFull,
                root: RootCertificate::File(self.node.home.ca_certificate()),
                client: None,
            })
            .with_application_name("manada lab")
    }

    /// A session of the lab's own role.
    pub(crate) async fn session(&self, account: &Account) -> Result<Session, Failure> {
        Session::open(&self.conninfo(account))
            .await
            .map_err(|error| self.failure("can't be reached", error))
    }

    /// A session of the superuser, over the Unix socket.
    pub(crate) async fn superuser_session(&self) -> Result<Session, Failure> {
        self.node
            .open_superuser()
            .await
            .map_err(|error| self.failure("can't be reached", error))
    }

    /// Stops it in good order.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        let data_directory = self.node.file.data_directory.clone();
        blocking(move || stop(&data_directory, StopMode::Fast, STOPPED_WITHIN))
            .await
            .map(|_| ())
            .map_err(|error| self.failure("did not stop", error))
    }

    /// Starts it again.
    pub(crate) async fn start(&self) -> Result<(), Failure> {
        let server = self.clone();
        let started = blocking(move || {
            start(
                &server.programs,
                &StartOptions {
                    data_directory: &server.node.file.data_directory,
                    settings: &[],
                    log_file: &server.node.home.log_file(),
                    ready_within: READY_WITHIN,
                },
            )
        });
        started
            .await
            .map(|_| ())
            .map_err(|error| self.failure("did not start", error))
    }

    pub(crate) fn failure(&self, what: &str, error: impl std::fmt::Display) -> Failure {
        Failure::failed(format!("{} {what}", self.name()))
            .because(error)
            .next("manada lab begins anew; manada lab rm removes what is there")
    }

    /// A statement failed on it.
    pub(crate) fn refused(&self, statement: &str, error: &tokio_postgres::Error) -> Failure {
        self.failure(
            &format!("did not carry out {statement:?}"),
            server_message(error),
        )
    }
}

/// Runs what blocks on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Looks until `look` gives something, and says how long that took; `None` after [`PATIENCE`].
pub(crate) async fn until<T>(
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<Option<(T, Duration)>, Failure> {
    let started = Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(Some((seen, started.elapsed())));
        }
        if started.elapsed() > PATIENCE {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
