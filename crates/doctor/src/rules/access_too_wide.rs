//! An access rule is open to every address

use crate::facts::{AccessRule, Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(39),
    slug: "access-too-wide",
    title: "An access rule is open to every address",
    severity: Severity::Warning,
    reads: &[Source::AccessRules],
    consequence: "Everybody who can reach the port may try passwords, and with the replicator's password \
        copies the whole database, hashes of passwords included. One rule for each standby's \
        address costs a line.",
    remedy: "Name the addresses. Between hosts of the herd, demand a certificate as well \
        (clientcert=verify-ca).",
    limits: "A rule for one database and one role is not found, nor one that demands a certificate. \
        What a firewall keeps away is not visible here. pg_hba_file_rules is for superusers \
        unless it is granted.",
    sources: &["PostgreSQL manual, \"The pg_hba.conf File\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let rules = server.access_rules.get()?;
    let wide = |rule: &&AccessRule| {
        let broad =
            rule.is_for_replication() || (rule.is_for_all_databases() && rule.is_for_all_users());
        rule.is_from_everywhere() && broad && rule.method != "reject" && !rule.demands_certificate()
    };
    let found = rules.iter().filter(wide).map(|rule| {
        let what = if rule.is_for_replication() {
            "replication"
        } else {
            "all databases and all roles"
        };
        RULE.on(
            server,
            format!("{} is open to every address for {what}", server.name),
        )
        .saw(remedy::access_file(server, rule), rule.to_string())
        .advice("write the addresses that need it in place of the line, one line each:")
        .fix(remedy::replace_access_rule(
            server,
            rule,
            rule.with_address("192.0.2.10/32"),
        ))
    });
    Ok(found.collect())
}
