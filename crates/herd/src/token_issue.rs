//! Making a join token: a new password for the newcomers' role.

use std::time::Duration;

use jiff::Timestamp;
use manada_postgres::authority::{AuthorityError, fingerprint};
use manada_postgres::quote::Unquotable;
use manada_postgres::session::server_message;
use manada_postgres::{Secret, Session};

use crate::home::HomeError;
use crate::node::Node;
use crate::schema::join_password_sql;
use crate::token::Token;

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueTokenError {
    /// The server is a standby, whose roles are its primary's.
    #[error("{node} is a standby: only the primary gives tokens")]
    Standby {
        /// The node.
        node: manada_model::NodeName,
    },
    /// The authority's certificate can't be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// It is none.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The time can't be reckoned with.
    #[error("a token can't be good for {} s", lifetime.as_secs())]
    Lifetime {
        /// What was asked for.
        lifetime: Duration,
    },
    /// The statement can't be written.
    #[error(transparent)]
    Unquotable(#[from] Unquotable),
    /// The server refuses.
    #[error("setting the password of newcomers: {}", server_message(source))]
    Sql {
        /// The server's word.
        source: tokio_postgres::Error,
    },
}

/// Gives newcomers a new password through a superuser's `session` with the primary. The former
/// token is of no use from then on.
pub async fn issue_token(
    node: &Node,
    session: &Session,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Token, IssueTokenError> {
    let ca = node.home.ca_certificate();
    let certificate = std::fs::read_to_string(&ca).map_err(HomeError::io("read", &ca))?;
    let expires_at = now
        .checked_add(lifetime)
        .and_then(|at| at.round(jiff::Unit::Second))
        .map_err(|_| IssueTokenError::Lifetime { lifetime })?;
    let password = Secret::random();
    let sql = join_password_sql(&password, expires_at)?;
    session.batch_execute(&sql).await.map_err(|source| {
        let read_only = tokio_postgres::error::SqlState::READ_ONLY_SQL_TRANSACTION;
        if source.code() == Some(&read_only) {
            IssueTokenError::Standby {
                node: node.file.name.clone(),
            }
        } else {
            IssueTokenError::Sql { source }
        }
    })?;
    Ok(Token {
        herd: node.file.herd.clone(),
        addresses: node.file.addresses.clone(),
        port: node.file.port,
        system_identifier: node.file.system_identifier,
        authority_fingerprint: fingerprint(&certificate)?,
        password,
        expires_at,
    })
}
