//! Who of this host's users may be which role: a marked block at the top of `pg_ident.conf`.
//!
//! Source: PostgreSQL manual, "User Name Maps".

use std::fmt::Write as _;

use super::access::{BEGIN, END};
use crate::quote::{Unquotable, access_token};

/// One map: these users of the operating system may log in as one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityBlock {
    /// The map's name, to which an access rule refers.
    pub map: String,
    /// The operating system's users.
    pub system_users: Vec<String>,
    /// The role.
    pub role: String,
}

impl IdentityBlock {
    /// The block's text, markers included.
    pub fn render(&self) -> Result<String, Unquotable> {
        let mut text = format!("{BEGIN}\n");
        let (map, role) = (access_token(&self.map)?, access_token(&self.role)?);
        for user in &self.system_users {
            let _ = writeln!(text, "{map} {} {role}", access_token(user)?);
        }
        text.push_str(END);
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_listed_one_by_one() {
        let block = IdentityBlock {
            map: "manada".to_owned(),
            system_users: vec!["ana".to_owned(), "root".to_owned()],
            role: "postgres".to_owned(),
        };
        insta::assert_snapshot!(block.render().expect("quotable"), @r#"
        # manada: begin
        "manada" "ana" "postgres"
        "manada" "root" "postgres"
        # manada: end
        "#);
    }
}
