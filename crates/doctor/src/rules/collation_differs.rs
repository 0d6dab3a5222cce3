//! Hosts sort text differently

use crate::facts::{Herd, Server, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(59),
    slug: "collation-differs",
    title: "Hosts sort text differently",
    severity: Severity::Critical,
    reads: &[Source::Databases],
    consequence: "Indexes on text were built with the primary's order and are read with this host's. \
        Queries on the standby miss rows that are there; after a failover unique constraints \
        let duplicates in, and the damage stays in the data.",
    remedy: "Run the same version of the C library (or ICU) on all hosts. After such a standby was \
        promoted, reindex all indexes on text.",
    limits: "The databases' own collations are compared, not those of single columns. C and POSIX \
        have no version and are the same everywhere.",
    sources: &[
        "PostgreSQL manual, \"Collation Support\"",
        "PostgreSQL wiki, \"Locale data changes\"",
    ],
    check: Check::EachStandby(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let primary = herd.primary()?;
    let (here, there) = (server.databases.get()?, primary.databases.get()?);
    let mut found = Vec::new();
    for database in here {
        let Some(same) = there.iter().find(|other| other.name == database.name) else {
            continue;
        };
        if database.collation_here == same.collation_here {
            continue;
        }
        let headline = format!(
            "database {} sorts differently on {} and on {}",
            database.name, server.name, primary.name
        );
        found.push(
            RULE.on(server, headline)
                .saw(
                    format!("version on {}", server.name),
                    database.collation_here.clone(),
                )
                .saw(
                    format!("version on {}", primary.name),
                    same.collation_here.clone(),
                )
                .advice(format!(
                    "bring the operating system of {} to the version of {}'s",
                    server.name, primary.name
                )),
        );
    }
    Ok(found)
}
