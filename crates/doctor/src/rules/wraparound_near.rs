//! Transaction ids run out

use crate::facts::{Herd, Server, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(55),
    slug: "wraparound-near",
    title: "Transaction ids run out",
    severity: Severity::Warning,
    reads: &[Source::Databases, Source::Settings],
    consequence: "Two thousand million transactions after its oldest row version PostgreSQL stops taking \
        writes in every database. Autovacuum should have frozen the rows long before; that it \
        has not means that something stops it: an open transaction, a prepared one, a slot, a \
        table it fails on.",
    remedy: "Find what holds it back (MND018, MND053, MND054), then vacuum the database.",
    limits: "More than 1000 million transactions is found as a warning, more than 1600 million as \
        critical. Multixacts are not looked at.",
    sources: &["PostgreSQL manual, \"Preventing Transaction ID Wraparound Failures\""],
    check: Check::Primary(check),
};

/// From here, so few are left that days count.
const CRITICAL_AGE: u64 = 1_600_000_000;

fn check(server: &Server, herd: &Herd) -> Verdict {
    let databases = server.databases.get()?;
    let old = databases
        .iter()
        .filter(|database| database.xid_age > herd.limits.xid_age_max);
    let found = old.map(|database| {
        let severity = if database.xid_age > CRITICAL_AGE {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let name = &database.name;
        RULE.on(
            server,
            format!("database {name} of {} is far from frozen", server.name),
        )
        .at(severity)
        .saw("age(datfrozenxid)", database.xid_age)
        .advice(format!("in database {name}:"))
        .sql(server, "VACUUM (FREEZE, VERBOSE);")
    });
    Ok(found.collect())
}
