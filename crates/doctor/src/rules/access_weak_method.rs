//! Passwords are proven in a weak way

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(38),
    slug: "access-weak-method",
    title: "Passwords are proven in a weak way",
    severity: Severity::Warning,
    reads: &[Source::AccessRules],
    consequence: "md5 can be attacked from what was overheard, and whoever steals the hash can log in \
        with it without knowing the password. PostgreSQL 18 warns of it, a later version drops \
        it. password sends the password itself, readable by everybody on the way unless TLS is \
        used.",
    remedy: "Use scram-sha-256. Roles whose password is still kept as an MD5 hash need it set again \
        first (MND043).",
    limits: "md5 lets a role in by SCRAM where its password is kept so; whether all are, only a \
        superuser sees. pg_hba_file_rules is for superusers unless it is granted.",
    sources: &["PostgreSQL manual, \"Password Authentication\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let rules = server.access_rules.get()?;
    let weak = rules
        .iter()
        .filter(|rule| matches!(rule.method.as_str(), "md5" | "password"));
    let found = weak.map(|rule| {
        let better = rule.with_method("scram-sha-256");
        RULE.on(
            server,
            format!("{} takes {} for this line", server.name, rule.method),
        )
        .saw(remedy::access_file(server, rule), rule.to_string())
        .fix(remedy::replace_access_rule(server, rule, better))
    });
    Ok(found.collect())
}
