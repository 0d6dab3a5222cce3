//! Indexes were built with another order of text

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(60),
    slug: "collation-changed",
    title: "Indexes were built with another order of text",
    severity: Severity::Critical,
    reads: &[Source::Databases],
    consequence: "The library that sorts text has changed since the indexes were built: an upgrade of \
        the operating system, a move to another image. Index lookups miss rows that are there, \
        and unique constraints let duplicates in.",
    remedy: "Reindex, then tell PostgreSQL that it was done. Telling it without reindexing hides \
        the damage.",
    limits: "The databases' own collations are looked at, not those of single columns.",
    sources: &["PostgreSQL manual, \"ALTER DATABASE\", REFRESH COLLATION VERSION"],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let databases = server.databases.get()?;
    let changed = databases.iter().filter_map(|database| {
        let recorded = database.collation_recorded.as_ref()?;
        let here = database.collation_here.as_ref()?;
        (recorded != here).then_some((database, recorded, here))
    });
    let found = changed.map(|(database, recorded, here)| {
        let name = remedy::identifier(&database.name);
        RULE.on(
            server,
            format!(
                "database {} of {} needs a REINDEX",
                database.name, server.name
            ),
        )
        .saw("built with", recorded.as_str())
        .saw("the system has", here.as_str())
        .advice(format!("in database {}:", database.name))
        .sql(server, format!("REINDEX DATABASE {name};"))
        .sql(
            server,
            format!("ALTER DATABASE {name} REFRESH COLLATION VERSION;"),
        )
    });
    Ok(found.collect())
}
