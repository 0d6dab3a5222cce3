//! Access rules: one marked block at the top of `pg_hba.conf`, where the first match decides.
//!
//! Source: PostgreSQL manual, "The pg_hba.conf File".

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::quote::{Unquotable, access_token};

pub(super) const BEGIN: &str = "# manada: begin";
pub(super) const END: &str = "# manada: end";
const EXPLANATION: &str =
    "# Rewritten by manada. The first rule that fits decides: put your own below this block.";

/// The marked block's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessBlock {
    /// The rules, in their order.
    pub rules: Vec<AccessRule>,
}

/// One record of `pg_hba.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// One line that says why.
    pub reason: String,
    /// The way in.
    pub connection: ConnectionType,
    /// The database, or a keyword.
    pub database: Database,
    /// Whom it is about.
    pub roles: Roles,
    /// What a client must show.
    pub method: AccessMethod,
}

/// The way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// The Unix socket.
    Local,
    /// TCP with TLS.
    Tls(Origin),
    /// TCP, with or without TLS.
    Tcp(Origin),
}

/// Where a client over TCP connects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Anywhere.
    Anywhere,
    /// One address.
    Host(IpAddr),
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Everybody.
    All,
    /// These.
    Named(Vec<String>),
}

/// What a rule's database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// Physical replication.
    Replication,
    /// Every database (but not physical replication).
    All,
    /// One database.
    Named(String),
}

/// What a client must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessMethod {
    /// The password, without sending it.
    Scram,
    /// The password, and a certificate of the authority in `ssl_ca_file`.
    ScramAndCertificate,
    /// Being the operating system's user that a map in `pg_ident.conf` allows.
    Peer {
        /// The map; without one, the names must be equal.
        map: Option<String>,
    },
    /// Nothing helps.
    Reject,
}

/// A block that begins and does not end, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the marked block is damaged: the lines \"# manada: begin\" and \"# manada: end\" must be there once each, in this order"
)]
pub struct DamagedBlock;

impl AccessBlock {
    /// The block's text, markers included.
    pub fn render(&self) -> Result<String, Unquotable> {
        let mut text = format!("{BEGIN}\n{EXPLANATION}\n");
        for rule in &self.rules {
            rule.write(&mut text)?;
        }
        text.push_str(END);
        text.push('\n');
        Ok(text)
    }
}

/// `text` with the marked `block` at its top and nowhere else; an empty one takes it out.
pub fn with_block(text: &str, block: &str) -> Result<String, DamagedBlock> {
    let mut rest = String::with_capacity(text.len());
    let mut inside = false;
    let mut seen = false;
    for line in text.split_inclusive('\n') {
        match (line.trim(), inside) {
            (BEGIN, false) if !seen => (inside, seen) = (true, true),
            (END, true) => inside = false,
            (BEGIN | END, _) => return Err(DamagedBlock),
            (_, true) => {}
            (_, false) => rest.push_str(line),
        }
    }
    if inside {
        return Err(DamagedBlock);
    }
    Ok(format!("{block}{rest}"))
}

impl AccessRule {
    fn write(&self, text: &mut String) -> Result<(), Unquotable> {
        let (kind, origin) = match self.connection {
            ConnectionType::Local => ("local", None),
            ConnectionType::Tls(origin) => ("hostssl", Some(origin)),
            ConnectionType::Tcp(origin) => ("host", Some(origin)),
        };
        let database = match &self.database {
            Database::Replication => "replication".to_owned(),
            Database::All => "all".to_owned(),
            Database::Named(name) => access_token(name)?,
        };
        let roles = match &self.roles {
            Roles::All => "all".to_owned(),
            Roles::Named(names) => names
                .iter()
                .map(|role| access_token(role))
                .collect::<Result<Vec<_>, _>>()?
                .join(","),
        };
        let reason = comment(&self.reason);
        let _ = write!(text, "# {reason}\n{kind} {database} {roles} ");
        match origin {
            None => {}
            Some(Origin::Anywhere) => text.push_str("all "),
            Some(Origin::Host(address @ IpAddr::V4(_))) => {
                let _ = write!(text, "{address}/32 ");
            }
            Some(Origin::Host(address @ IpAddr::V6(_))) => {
                let _ = write!(text, "{address}/128 ");
            }
        }
        match &self.method {
            AccessMethod::Scram => text.push_str("scram-sha-256"),
            AccessMethod::ScramAndCertificate => {
                text.push_str("scram-sha-256 clientcert=verify-ca");
            }
            AccessMethod::Peer { map: None } => text.push_str("peer"),
            AccessMethod::Peer { map: Some(map) } => {
                let _ = write!(text, "peer map={}", access_token(map)?);
            }
            AccessMethod::Reject => text.push_str("reject"),
        }
        text.push('\n');
        Ok(())
    }
}

/// A text as a comment of one line. A backslash at a line's end would join the next to it.
fn comment(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    if line.ends_with('\\') {
        line + " "
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> AccessBlock {
        AccessBlock {
            rules: vec![
                AccessRule {
                    reason: "Node n2\nfollows.".to_owned(),
                    connection: ConnectionType::Tls(Origin::Host("10.0.0.2".parse().expect("ip"))),
                    database: Database::Replication,
                    roles: Roles::Named(vec!["replicator".to_owned()]),
                    method: AccessMethod::Scram,
                },
                AccessRule {
                    reason: "Administration.".to_owned(),
                    connection: ConnectionType::Local,
                    database: Database::All,
                    roles: Roles::Named(vec!["a\"b".to_owned(), "all".to_owned()]),
                    method: AccessMethod::Peer {
                        map: Some("manada".to_owned()),
                    },
                },
                AccessRule {
                    reason: "Nobody else.".to_owned(),
                    connection: ConnectionType::Tcp(Origin::Anywhere),
                    database: Database::All,
                    roles: Roles::All,
                    method: AccessMethod::Reject,
                },
            ],
        }
    }

    #[test]
    fn the_block_goes_first_and_is_replaced_whole() {
        let block = block().render().expect("quotable");
        let theirs = "# mine\nlocal all all peer\n";
        let once = with_block(theirs, &block).expect("whole");
        insta::assert_snapshot!(once, @r#"
        # manada: begin
        # Rewritten by manada. The first rule that fits decides: put your own below this block.
        # Node n2 follows.
        hostssl replication "replicator" 10.0.0.2/32 scram-sha-256
        # Administration.
        local all "a""b","all" peer map="manada"
        # Nobody else.
        host all all all reject
        # manada: end
        # mine
        local all all peer
        "#);
        assert_eq!(with_block(&once, &block).as_deref(), Ok(once.as_str()));
        assert_eq!(with_block(&once, "").as_deref(), Ok(theirs));
    }

    #[test]
    fn a_damaged_block_is_left_alone() {
        for text in [
            "# manada: begin\nlocal all all peer\n",
            "# manada: end\n",
            "# manada: begin\n# manada: end\n# manada: begin\n# manada: end\n",
            "# manada: begin\n# manada: begin\n# manada: end\n",
        ] {
            assert_eq!(with_block(text, ""), Err(DamagedBlock), "{text}");
        }
    }
}
