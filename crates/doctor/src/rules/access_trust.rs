//! Whoever reaches the server is believed to be anybody

use crate::facts::{ConnectionType, Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(37),
    slug: "access-trust",
    title: "Whoever reaches the server is believed to be anybody",
    severity: Severity::Critical,
    reads: &[Source::AccessRules],
    consequence: "With trust there is no password: everybody on that network, and every process on such \
        a host, can log in as the superuser, read all, change all, and run programs as the \
        server's user. A private network is as private as its weakest machine.",
    remedy: "Use scram-sha-256, under TLS (hostssl), for the addresses that need it.",
    limits: "A Unix socket or a loopback address with trust is milder: a warning. pg_hba_file_rules \
        is for superusers unless it is granted.",
    sources: &["PostgreSQL manual, \"Trust Authentication\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let rules = server.access_rules.get()?;
    let trusting = rules.iter().filter(|rule| rule.method == "trust");
    let found = trusting.map(|rule| {
        let severity = if rule.is_loopback() {
            Severity::Warning
        } else {
            Severity::Critical
        };
        let better = if rule.connection == Some(ConnectionType::Local) {
            rule.with_method("peer")
        } else {
            rule.with_method("scram-sha-256")
        };
        RULE.on(
            server,
            format!(
                "{} asks nobody for a password who matches this line",
                server.name
            ),
        )
        .at(severity)
        .saw(remedy::access_file(server, rule), rule.to_string())
        .fix(remedy::replace_access_rule(server, rule, better))
    });
    Ok(found.collect())
}
