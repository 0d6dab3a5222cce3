//! Who may connect from where, and how they prove who they are: `pg_hba_file_rules`.

use manada_postgres::Session;

use super::gather::rows;
use super::source::{Fact, Source};

/// A line of `pg_hba.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// The file, where the version says it (16 and later).
    pub file: Option<String>,
    /// The line.
    pub line: u32,
    /// Which connections it is for; none where the line has an error.
    pub connection: Option<ConnectionType>,
    /// The databases, keywords such as `all` and `replication` among them.
    pub databases: Vec<String>,
    /// The roles, `all` among them.
    pub users: Vec<String>,
    /// The address or host name; none for sockets.
    pub address: Option<String>,
    /// The address's mask.
    pub netmask: Option<String>,
    /// The method.
    pub method: String,
    /// The method's options.
    pub options: Vec<String>,
    /// Why the line can't be used.
    pub error: Option<String>,
}

/// Which connections an access rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// Unix sockets.
    Local,
    /// TCP, with TLS or without.
    Host,
    /// TCP under TLS.
    HostSsl,
    /// TCP without TLS.
    HostNoSsl,
    /// TCP under GSSAPI encryption, or explicitly without it.
    HostGss,
}

impl AccessRule {
    pub(super) async fn read(session: &Session) -> Fact<Vec<AccessRule>> {
        let sql = "
            SELECT to_jsonb(h) ->> 'file_name' AS file, line_number, type,
                   coalesce(database, '{}') AS databases, coalesce(user_name, '{}') AS users,
                   address, netmask, coalesce(auth_method, '') AS method,
                   coalesce(options, '{}') AS options, error
            FROM pg_hba_file_rules h ORDER BY line_number";
        rows(session, Source::AccessRules, sql, |row| AccessRule {
            file: row.get("file"),
            line: row
                .get::<_, Option<i32>>("line_number")
                .map_or(0, i32::unsigned_abs),
            connection: row
                .get::<_, Option<&str>>("type")
                .and_then(ConnectionType::of),
            databases: row.get("databases"),
            users: row.get("users"),
            address: row.get("address"),
            netmask: row.get("netmask"),
            method: row.get("method"),
            options: row.get("options"),
            error: row.get("error"),
        })
        .await
        .into()
    }

    /// Whether it lets in who asks for replication: `all` does not.
    pub fn is_for_replication(&self) -> bool {
        self.databases.iter().any(|name| name == "replication")
    }

    /// Whether it is for every role.
    pub fn is_for_all_users(&self) -> bool {
        self.users.iter().any(|name| name == "all")
    }

    /// Whether it is for every database.
    pub fn is_for_all_databases(&self) -> bool {
        self.databases.iter().any(|name| name == "all")
    }

    /// Whether it takes connections from any address.
    pub fn is_from_everywhere(&self) -> bool {
        match (self.address.as_deref(), self.netmask.as_deref()) {
            (Some("all"), _) => true,
            (Some(_), Some("0.0.0.0" | "::")) => true,
            (Some(_) | None, _) => false,
        }
    }

    /// Whether it takes connections from this host alone.
    pub fn is_loopback(&self) -> bool {
        match self.address.as_deref() {
            None => self.connection == Some(ConnectionType::Local),
            Some("samehost" | "localhost" | "::1") => true,
            Some(address) => address.starts_with("127."),
        }
    }

    /// The same line with another method, and so without the options of the one it had.
    pub fn with_method(&self, method: &str) -> String {
        let rule = AccessRule {
            method: method.to_owned(),
            options: Vec::new(),
            ..self.clone()
        };
        rule.to_string()
    }

    /// The same line for another address.
    pub fn with_address(&self, address: &str) -> String {
        let rule = AccessRule {
            address: Some(address.to_owned()),
            netmask: None,
            ..self.clone()
        };
        rule.to_string()
    }

    /// Whether a certificate is demanded of the client.
    pub fn demands_certificate(&self) -> bool {
        let asked = |option: &String| option.starts_with("clientcert=verify");
        self.method == "cert" || self.options.iter().any(asked)
    }
}

/// As it would stand in the file.
impl std::fmt::Display for AccessRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connection = self.connection.map_or("?", ConnectionType::as_str);
        let (databases, users) = (self.databases.join(","), self.users.join(","));
        write!(f, "{connection} {databases} {users} ")?;
        match (&self.address, &self.netmask) {
            (Some(address), Some(netmask)) => match prefix_length(netmask) {
                Some(length) => write!(f, "{address}/{length} ")?,
                None => write!(f, "{address} {netmask} ")?,
            },
            (Some(address), None) => write!(f, "{address} ")?,
            (None, _) => {}
        }
        f.write_str(&self.method)?;
        for option in &self.options {
            write!(f, " {option}")?;
        }
        Ok(())
    }
}

/// The prefix length of a mask whose ones stand in front.
fn prefix_length(netmask: &str) -> Option<u32> {
    let (bits, width) = match netmask.parse().ok()? {
        std::net::IpAddr::V4(mask) => (u128::from(mask.to_bits()) << 96, 32),
        std::net::IpAddr::V6(mask) => (mask.to_bits(), 128),
    };
    let ones = bits.leading_ones();
    (ones == bits.count_ones() && ones <= width).then_some(ones)
}

impl ConnectionType {
    fn of(text: &str) -> Option<ConnectionType> {
        match text {
            "local" => Some(ConnectionType::Local),
            "host" => Some(ConnectionType::Host),
            "hostssl" => Some(ConnectionType::HostSsl),
            "hostnossl" => Some(ConnectionType::HostNoSsl),
            "hostgssenc" | "hostnogssenc" => Some(ConnectionType::HostGss),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            ConnectionType::Local => "local",
            ConnectionType::Host => "host",
            ConnectionType::HostSsl => "hostssl",
            ConnectionType::HostNoSsl => "hostnossl",
            ConnectionType::HostGss => "hostgssenc",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_reads_as_its_prefix() {
        assert_eq!(prefix_length("255.255.255.0"), Some(24));
        assert_eq!(prefix_length("0.0.0.0"), Some(0));
        assert_eq!(prefix_length("ffff:ffff::"), Some(32));
        assert_eq!(prefix_length("255.0.255.0"), None);
        assert_eq!(prefix_length("nonsense"), None);
    }
}
