//! Asking the primary that a token names.

use jiff::Timestamp;
use manada_model::SystemIdentifier;
use manada_postgres::conninfo::{Endpoint, RootCertificate, SslMode, SslParameters};
use manada_postgres::session::server_message;
use manada_postgres::{ConnectError, Conninfo, Session};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Json;

use crate::admission::{Admission, Newcomer, PrimaryFacts, Refusal, Reply, Request};
use crate::schema::{DATABASE, JOIN_ROLE};
use crate::token::Token;

/// The primary does not answer, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The token's time is over, by this host's clock.
    #[error("the join token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The token's password is none any more.
    #[error("{endpoint} does not take this token any more: it expired, or a newer one replaced it")]
    Revoked {
        /// The server.
        endpoint: Endpoint,
    },
    /// No session.
    #[error(transparent)]
    Connect(ConnectError),
    /// The server has become a standby.
    #[error("{endpoint} is a standby now: get a token from the primary")]
    NotPrimary {
        /// The server.
        endpoint: Endpoint,
    },
    /// Another cluster answers.
    #[error("{endpoint} is the cluster {found}, and the token is for the cluster {expected}")]
    OtherCluster {
        /// The server.
        endpoint: Endpoint,
        /// The token's.
        expected: SystemIdentifier,
        /// The server's.
        found: SystemIdentifier,
    },
    /// The server failed to answer.
    #[error("{endpoint} could not answer: {}", server_message(source))]
    Sql {
        /// The server.
        endpoint: Endpoint,
        /// Its word.
        source: tokio_postgres::Error,
    },
    /// It answers something else.
    #[error("{endpoint} answers something unexpected: it may run another version of manada")]
    Unexpected {
        /// The server.
        endpoint: Endpoint,
    },
}

/// A session with the primary, and what it says of itself.
#[derive(Debug)]
pub struct Invitation {
    session: Session,
    token: Token,
    facts: PrimaryFacts,
}

impl Invitation {
    /// Asks the primary what it is like. Changes nothing, here or there.
    pub async fn ask(token: &Token, now: Timestamp) -> Result<Invitation, AskError> {
        if token.is_expired(now) {
            return Err(AskError::Expired {
                at: token.expires_at,
            });
        }
        let session = Session::open(&conninfo(token)).await.map_err(refused)?;
        let Reply::Described(facts) = reply(&session, &Request::Describe).await? else {
            return Err(unexpected(&session));
        };
        if facts.system_identifier != token.system_identifier {
            return Err(AskError::OtherCluster {
                endpoint: session.endpoint().clone(),
                expected: token.system_identifier,
                found: facts.system_identifier,
            });
        }
        Ok(Invitation {
            session,
            token: token.clone(),
            facts,
        })
    }

    /// What the primary is like.
    pub fn facts(&self) -> &PrimaryFacts {
        &self.facts
    }

    /// The token that was used.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// All ways to the primary, the one that was just used first.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints = conninfo(&self.token).endpoints;
        endpoints.sort_by_key(|endpoint| endpoint != self.session.endpoint());
        endpoints
    }

    /// Asks to be admitted.
    pub(super) async fn request(
        &self,
        newcomer: Newcomer,
    ) -> Result<Result<Admission, Refusal>, AskError> {
        match reply(&self.session, &Request::Admit(newcomer)).await? {
            Reply::Admitted(admission) => Ok(Ok(*admission)),
            Reply::Refused(refusal) => Ok(Err(refusal)),
            Reply::Described(_) => Err(unexpected(&self.session)),
        }
    }
}

fn conninfo(token: &Token) -> Conninfo {
    let endpoints: Vec<Endpoint> = token
        .addresses
        .iter()
        .map(|address| Endpoint::tcp(address.to_string(), token.port))
        .collect();
    Conninfo {
        endpoints: endpoints.clone(),
        ..Conninfo::at(endpoints[0].clone(), JOIN_ROLE)
    }
    .with_dbname(DATABASE)
    .with_password(token.password.clone())
    .with_application_name("manada join")
    .with_ssl(SslParameters {
        mode: SslMode::VerifyFull,
        root: RootCertificate::Fingerprint(token.authority_fingerprint),
        client: None,
    })
}

fn refused(error: ConnectError) -> AskError {
    match &error {
        ConnectError::Refused {
            endpoint, source, ..
        } if source.code() == Some(&SqlState::INVALID_PASSWORD) => AskError::Revoked {
            endpoint: endpoint.clone(),
        },
        ConnectError::Refused { .. }
        | ConnectError::Transport(_)
        | ConnectError::TimedOut { .. } => AskError::Connect(error),
    }
}

async fn reply(session: &Session, request: &Request) -> Result<Reply, AskError> {
    let row = session
        .query_one("SELECT manada.admit($1)", &[&Json(request)])
        .await
        .map_err(|source| {
            let endpoint = session.endpoint().clone();
            match source.code() {
                Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => AskError::NotPrimary { endpoint },
                _ => AskError::Sql { endpoint, source },
            }
        })?;
    row.try_get::<_, Json<Reply>>(0)
        .map(|Json(reply)| reply)
        .map_err(|_| unexpected(session))
}

fn unexpected(session: &Session) -> AskError {
    AskError::Unexpected {
        endpoint: session.endpoint().clone(),
    }
}
