//! A server of another cluster is among the hosts

use crate::facts::{Herd, Server, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(58),
    slug: "foreign-server",
    title: "A server of another cluster is among the hosts",
    severity: Severity::Critical,
    reads: &[Source::Connection],
    consequence: "It shares nothing with the herd but its place in a list of hosts. A client that is \
        sent there reads and writes other data; a standby cannot follow it.",
    remedy: "Take it out of the list, or make it a standby of this herd.",
    limits: "Only among the servers that were asked.",
    sources: &["PostgreSQL manual, \"pg_control_system()\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let identifier = server.identity.system_identifier;
    let Some(ours) = herd.system_identifier().filter(|ours| *ours != identifier) else {
        return Ok(Vec::new());
    };
    let finding = RULE
        .on(server, format!("{} is of another cluster", server.name))
        .saw("system_identifier", identifier.to_string())
        .saw("the herd's", ours.to_string())
        .advice(format!(
            "take {} out of the list of hosts, or clone it anew",
            server.name
        ));
    Ok(vec![finding])
}
