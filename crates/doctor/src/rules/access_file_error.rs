//! pg_hba.conf has an error

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(34),
    slug: "access-file-error",
    title: "pg_hba.conf has an error",
    severity: Severity::Critical,
    reads: &[Source::AccessRules],
    consequence: "A reload ignores the whole file: a rule that was added is not in force, one that was \
        taken away still is. At its next start the server refuses to come up: \"could not load \
        pg_hba.conf\".",
    remedy: "Correct the line and reload.",
    limits: "pg_hba_file_rules is for superusers unless it is granted.",
    sources: &["PostgreSQL manual, \"pg_hba_file_rules\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let rules = server.access_rules.get()?;
    let wrong = rules.iter().filter(|rule| rule.error.is_some());
    let found = wrong.map(|rule| {
        let place = remedy::access_file(server, rule);
        RULE.on(server, format!("{place} can't be used"))
            .saw("error", rule.error.clone())
            .advice(format!("correct {place}, then"))
            .fix([remedy::reload(server)])
    });
    Ok(found.collect())
}
