//! A standby has nobody to follow

use crate::conninfo;
use crate::facts::{Herd, Server, Source, Unknown};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};
use manada_postgres::Endpoint;
use manada_postgres::conninfo::Host;

pub(crate) static RULE: Rule = Rule {
    id: RuleId(48),
    slug: "standby-follows-nobody",
    title: "A standby has nobody to follow",
    severity: Severity::Critical,
    reads: &[Source::RestrictedSettings],
    consequence: "It is in recovery, so it takes no writes; and it has no source of WAL, so it learns \
        nothing new. It answers queries as if it were a standby, with data that grow older.",
    remedy: "Give it primary_conninfo, or promote it if it is meant to be a server of its own.",
    limits: "A standby that follows itself (the address and port of its own) is found where it \
        gives a loopback address.",
    sources: &["PostgreSQL manual, \"Standby Server Settings\""],
    check: Check::EachStandby(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let text = server.settings.text("primary_conninfo")?;
    let restore = server.settings.text("restore_command")?;
    let headline = if text.is_empty() && restore.is_empty() {
        format!(
            "{} has neither primary_conninfo nor restore_command",
            server.name
        )
    } else if follows_itself(server)? {
        format!("{} follows itself", server.name)
    } else {
        return Ok(Vec::new());
    };
    let primary = herd.primaries().next().map(|primary| primary.name.as_str());
    let finding = RULE
        .on(server, headline)
        .saw("primary_conninfo", text)
        .saw("restore_command", remedy::without_secrets(restore))
        .advice(format!(
            "name the primary ({}) to it:",
            primary.unwrap_or("which was not reached")
        ))
        .sql(
            server,
            "ALTER SYSTEM SET primary_conninfo = 'host=… port=… user=replicator \
             sslmode=verify-full application_name=…';",
        )
        .fix([remedy::reload(server)]);
    Ok(vec![finding])
}

/// Whether the only server it names is a loopback address with its own port.
fn follows_itself(server: &Server) -> Result<bool, Unknown> {
    let Some(conninfo) = conninfo::read(server.settings.text("primary_conninfo")?) else {
        return Ok(false);
    };
    let own_port = server.settings.number("port")?;
    let is_own = |endpoint: &Endpoint| {
        let near = match &endpoint.host {
            Host::Tcp(name) => name == "localhost" || name == "::1" || name.starts_with("127."),
            Host::Unix(_) => true,
        };
        near && i64::from(endpoint.port) == own_port
    };
    Ok(conninfo.endpoints.iter().all(is_own))
}
