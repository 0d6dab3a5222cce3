//! Who gets into a node: the rules of its block in `pg_hba.conf`, made from the members.

use manada_postgres::os_user::OsUser;
use manada_postgres::settings::{
    AccessBlock, AccessMethod, AccessRule, ConnectionType, Database, IdentityBlock, Origin, Roles,
};

use crate::member::Member;
use crate::node_file::NodeFile;
use crate::schema::{DATABASE, JOIN_ROLE, MONITOR_ROLE};

/// The map by which the server's own user, and root, are its superuser.
const IDENTITY_MAP: &str = "manada";

/// Whether clients get into a node that an agent protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The rules below the marked block decide.
    Open,
    /// Only the herd's roles and the host's administrator.
    Closed,
}

/// The rules for a node of a herd with these members.
pub(crate) fn block(node: &NodeFile, members: &[Member]) -> AccessBlock {
    let mut rules = Vec::new();
    if !node.adopted {
        rules.push(AccessRule {
            reason: "This host's administrator, through the socket, without a password.".to_owned(),
            connection: ConnectionType::Local,
            database: Database::All,
            roles: Roles::Named(vec![node.superuser.clone()]),
            method: AccessMethod::Peer {
                map: Some(IDENTITY_MAP.to_owned()),
            },
        });
    }
    rules.extend(members.iter().flat_map(|member| replication(node, member)));
    let tls_only = |reason: &str, role: &str, method| AccessRule {
        reason: reason.to_owned(),
        connection: ConnectionType::Tls(Origin::Anywhere),
        database: Database::Named(DATABASE.to_owned()),
        roles: Roles::Named(vec![role.to_owned()]),
        method,
    };
    rules.push(tls_only(
        "Nodes read each other's status: the password and a certificate of this herd.",
        MONITOR_ROLE,
        AccessMethod::ScramAndCertificate,
    ));
    rules.push(tls_only(
        "Newcomers ask to be admitted; the role may do nothing else, its password expires.",
        JOIN_ROLE,
        AccessMethod::Scram,
    ));
    rules.push(AccessRule {
        reason: "No other way in for the herd's roles, whatever the rules below say.".to_owned(),
        connection: ConnectionType::Tcp(Origin::Anywhere),
        database: Database::All,
        roles: Roles::Named(
            [&node.replication_role, MONITOR_ROLE, JOIN_ROLE]
                .map(str::to_owned)
                .to_vec(),
        ),
        method: AccessMethod::Reject,
    });
    AccessBlock { rules }
}

/// The rules for a node that an agent protects.
pub(crate) fn protected_block(
    node: &NodeFile,
    user: &OsUser,
    members: &[Member],
    door: Door,
) -> AccessBlock {
    let mut rules = block(node, members).rules;
    if node.adopted {
        // Whatever the server's own rules become, its agent gets in.
        let same_name = user.name() == node.superuser;
        rules.insert(
            0,
            AccessRule {
                reason: "This host's agent, through the socket.".to_owned(),
                connection: ConnectionType::Local,
                database: Database::All,
                roles: Roles::Named(vec![node.superuser.clone()]),
                method: AccessMethod::Peer {
                    map: (!same_name).then(|| IDENTITY_MAP.to_owned()),
                },
            },
        );
    }
    // The last rule turns the herd's roles away.
    let last = rules.len() - 1;
    let rewinding = members.iter().flat_map(|member| rewinding(node, member));
    rules.splice(last..last, rewinding);
    match door {
        Door::Open => {}
        Door::Closed => rules.extend(closed()),
    }
    AccessBlock { rules }
}

/// Whether the marked block of a `pg_hba.conf` closes the door.
pub(crate) fn door_in(hba: &str) -> Door {
    if hba.lines().any(|line| line == format!("# {CLOSED}")) {
        Door::Closed
    } else {
        Door::Open
    }
}

/// The reason of the rules that close the door. By it they are found again.
const CLOSED: &str = "The gate is closed: the herd has not confirmed what clients would see here.";

fn closed() -> [AccessRule; 2] {
    [ConnectionType::Local, ConnectionType::Tcp(Origin::Anywhere)].map(|connection| AccessRule {
        reason: CLOSED.to_owned(),
        connection,
        database: Database::All,
        roles: Roles::All,
        method: AccessMethod::Reject,
    })
}

/// A member that comes back reads the files that differ, as the role that could copy them all.
fn rewinding<'a>(
    node: &'a NodeFile,
    member: &'a Member,
) -> impl Iterator<Item = AccessRule> + use<'a> {
    replication(node, member).map(|rule| AccessRule {
        reason: format!("Node {} rewinds.", member.name),
        database: Database::Named(DATABASE.to_owned()),
        ..rule
    })
}

/// One rule for each address of a member, itself included: any node may come to be the primary.
fn replication<'a>(
    node: &'a NodeFile,
    member: &'a Member,
) -> impl Iterator<Item = AccessRule> + use<'a> {
    let addresses = member.addresses.iter().filter_map(|address| address.ip());
    addresses.map(|address| AccessRule {
        reason: format!("Node {} follows.", member.name),
        connection: ConnectionType::Tls(Origin::Host(address)),
        database: Database::Replication,
        roles: Roles::Named(vec![node.replication_role.clone()]),
        method: AccessMethod::Scram,
    })
}

/// The map to which the first rule refers.
pub(crate) fn identity(node: &NodeFile, user: &OsUser) -> IdentityBlock {
    let mut system_users = vec![user.name().to_owned()];
    if user.name() != "root" {
        system_users.push("root".to_owned());
    }
    IdentityBlock {
        map: IDENTITY_MAP.to_owned(),
        system_users,
        role: node.superuser.clone(),
    }
}
