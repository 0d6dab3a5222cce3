//! There are tables that no standby has

use crate::facts::{Herd, Server, Source};
use crate::finding::Step;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(28),
    slug: "unlogged-tables",
    title: "There are tables that no standby has",
    severity: Severity::Note,
    reads: &[Source::Relations, Source::Databases],
    consequence: "Unlogged tables are not in the WAL: on a standby they cannot be read, after a failover \
        they are empty, and so they are after a crash of the primary.",
    remedy: "If their content matters, make them logged, which writes them to WAL once.",
    limits: "Temporary tables are left out. At most 32 databases are entered.",
    sources: &["PostgreSQL manual, \"CREATE TABLE\", UNLOGGED"],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let mut found = Vec::new();
    for unlogged in &server.unlogged {
        let unlogged = unlogged.get()?;
        if unlogged.count == 0 {
            continue;
        }
        let headline = format!("database {} has unlogged tables", unlogged.database);
        let logged = unlogged
            .examples
            .iter()
            .map(|table| Step::sql(server, format!("ALTER TABLE {table} SET LOGGED;")));
        found.push(
            RULE.on(server, headline)
                .saw("database", unlogged.database.as_str())
                .saw("unlogged tables", unlogged.count)
                .saw("the largest", unlogged.examples.clone())
                .advice(format!(
                    "in database {}, for those whose content matters:",
                    unlogged.database
                ))
                .fix(logged),
        );
    }
    Ok(found)
}
