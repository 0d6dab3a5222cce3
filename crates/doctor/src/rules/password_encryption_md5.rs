//! New passwords are kept as MD5 hashes

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(42),
    slug: "password-encryption-md5",
    title: "New passwords are kept as MD5 hashes",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "Every password that is set from now on is kept in a form that can be used to log in \
        once it is stolen, and that is quickly guessed. PostgreSQL 18 warns of it, a later \
        version drops it.",
    remedy: "Set password_encryption to scram-sha-256, then set the passwords again.",
    limits: "It looks at the server's setting; roles and databases may have their own.",
    sources: &["PostgreSQL manual, \"password_encryption\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let method = server.settings.text("password_encryption")?;
    if method != "md5" {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("{} keeps new passwords as MD5 hashes", server.name),
        )
        .saw("password_encryption", method)
        .fix(remedy::set(server, "password_encryption", "scram-sha-256"));
    Ok(vec![finding])
}
