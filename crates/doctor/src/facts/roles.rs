//! Roles whose password is kept as an MD5 hash.

use manada_postgres::Session;

use super::gather::rows;
use super::source::{Fact, Source};

/// The roles' names; never their hashes.
pub type Md5Roles = Vec<String>;

pub(super) async fn read(session: &Session) -> Fact<Md5Roles> {
    let sql = "SELECT rolname::text AS role FROM pg_authid \
               WHERE rolpassword LIKE 'md5%' AND rolcanlogin ORDER BY 1";
    rows(session, Source::Passwords, sql, |row| row.get("role"))
        .await
        .into()
}
