//! Roles have their password kept as an MD5 hash

use crate::facts::{Herd, Server, Source};
use crate::finding::Step;
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(43),
    slug: "md5-passwords",
    title: "Roles have their password kept as an MD5 hash",
    severity: Severity::Warning,
    reads: &[Source::Passwords],
    consequence: "Whoever gets at the hash, from a backup for instance, logs in with it. These roles are \
        also the ones that cannot log in any more on the day access rules ask for \
        scram-sha-256.",
    remedy: "Set each password again with password_encryption = scram-sha-256.",
    limits: "Only a superuser can see it; the hashes are never fetched.",
    sources: &["PostgreSQL manual, \"Password Authentication\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let roles = server.md5_roles.get()?;
    if roles.is_empty() {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("passwords on {} are kept as MD5 hashes", server.name),
        )
        .saw("roles", roles.clone())
        .advice("in psql, which asks for the new password and sends only its SCRAM form:");
    let again = roles
        .iter()
        .map(|role| Step::sql(server, format!("\\password {}", remedy::identifier(role))));
    Ok(vec![finding.fix(again)])
}
