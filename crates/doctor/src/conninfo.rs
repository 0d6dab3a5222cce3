//! A look into `primary_conninfo`, from which the server has already taken the password.

use manada_postgres::Conninfo;
use manada_postgres::conninfo::Environment;

/// The parameters, if the text can be read; this host's own environment adds nothing to them.
pub(crate) fn read(conninfo: &str) -> Option<Conninfo> {
    Conninfo::parse(conninfo, &Environment::default()).ok()
}
