//! A prepared transaction is in nobody's hands

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(53),
    slug: "prepared-transaction-forgotten",
    title: "A prepared transaction is in nobody's hands",
    severity: Severity::Warning,
    reads: &[Source::PreparedTransactions],
    consequence: "It keeps its locks and keeps dead rows from vacuum, through restarts and failovers, \
        until somebody ends it. Tables grow, and in the end transaction ids run out.",
    remedy: "Ask the transaction manager what became of it; then commit it or roll it back, in its \
        database.",
    limits: "Younger than five minutes, a transaction manager is taken to be at work on it.",
    sources: &["PostgreSQL manual, \"PREPARE TRANSACTION\""],
    check: Check::Primary(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let prepared = server.prepared.get()?;
    let old = prepared
        .iter()
        .filter(|transaction| transaction.prepared_for > herd.limits.prepared_age_max);
    let found = old.map(|transaction| {
        let gid = remedy::literal(&transaction.gid);
        RULE.on(
            server,
            format!("transaction {gid} of {} was prepared and left", server.name),
        )
        .saw("gid", transaction.gid.as_str())
        .saw("prepared, ago", transaction.prepared_for)
        .saw("owner", transaction.owner.as_str())
        .saw("database", transaction.database.as_str())
        .advice(format!(
            "in database {}, as its owner or a superuser:",
            transaction.database
        ))
        .sql(
            server,
            format!("ROLLBACK PREPARED {gid}; -- or COMMIT PREPARED {gid};"),
        )
    });
    Ok(found.collect())
}
