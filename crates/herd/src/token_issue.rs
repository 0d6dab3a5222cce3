//! Making a join token: a new password for the newcomers' role.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use manada_postgres::authority::{AuthorityError, fingerprint};
use manada_postgres::os_user::OsUserError;
use manada_postgres::quote::Unquotable;
use manada_postgres::session::server_message;
use manada_postgres::{Secret, Session};
use tokio_postgres::error::SqlState;

use crate::home::HomeError;
use crate::node::{Node, program_for_server};
use crate::schema::{admit_source, functions_sql, join_password_sql};
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
    /// Nobody, or not us, may act as the server's user.
    #[error(transparent)]
    User(#[from] OsUserError),
    /// The authority's certificate can't be read, or the program not be given to the server.
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
    #[error("preparing the server for newcomers: {}", server_message(source))]
    Sql {
        /// The server's word.
        source: tokio_postgres::Error,
    },
}

/// Has newcomers answered by this host's program, `manada`: where the primary has moved since the
/// herd was made, the functions still name another host's. `session` is a superuser's with the
/// primary.
pub async fn answer_here(
    node: &Node,
    session: &Session,
    manada: &Path,
) -> Result<(), IssueTokenError> {
    let sql = |source| refused(node, source);
    let manada = program_for_server(manada, &node.home, &node.user()?)?;
    let source = admit_source(&manada, &node.home)?;
    let row = session
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'admit' \
             AND pronamespace = 'manada'::regnamespace AND prosrc = $1)",
            &[&source],
        )
        .await
        .map_err(sql)?;
    if row.get(0) {
        return Ok(());
    }
    let functions = functions_sql(&manada, &node.home)?;
    session.batch_execute(&functions).await.map_err(sql)
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
    session
        .batch_execute(&sql)
        .await
        .map_err(|source| refused(node, source))?;
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

fn refused(node: &Node, source: tokio_postgres::Error) -> IssueTokenError {
    if source.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
        IssueTokenError::Standby {
            node: node.file.name.clone(),
        }
    } else {
        IssueTokenError::Sql { source }
    }
}
