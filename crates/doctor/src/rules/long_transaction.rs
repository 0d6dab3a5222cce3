//! A transaction has been open for long

use crate::facts::{Herd, Server, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(54),
    slug: "long-transaction",
    title: "A transaction has been open for long",
    severity: Severity::Warning,
    reads: &[Source::Activity],
    consequence: "As long as it is open, vacuum removes no row version that it could still see, in no \
        table: tables and indexes grow, on the standbys too. On a standby it holds up replay, \
        or is cancelled.",
    remedy: "Ask its owner to end it, or end it. idle_in_transaction_session_timeout ends the \
        forgotten ones.",
    limits: "More than an hour is long. Backups (pg_dump) are found as well.",
    sources: &["PostgreSQL manual, \"Routine Vacuuming\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let transactions = server.transactions.get()?;
    let long = transactions.iter().filter(|transaction| {
        transaction.holds_xmin && transaction.open_for > herd.limits.transaction_age_max
    });
    let found = long.map(|transaction| {
        let pid = transaction.pid;
        RULE.on(
            server,
            format!("process {pid} of {} holds a transaction open", server.name),
        )
        .saw("open for", transaction.open_for)
        .saw("state", transaction.state.as_str())
        .saw("role", transaction.user.as_str())
        .saw("database", transaction.database.as_str())
        .sql(server, format!("SELECT pg_terminate_backend({pid});"))
    });
    Ok(found.collect())
}
