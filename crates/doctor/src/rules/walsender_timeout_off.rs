//! A primary never gives up a dead standby

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(51),
    slug: "walsender-timeout-off",
    title: "A primary never gives up a dead standby",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "A standby whose host has vanished without a word stays in pg_stat_replication as if it \
        streamed. Its slot stays active, a synchronous commit waits for it for ever, and its \
        place among the walsenders is not given back.",
    remedy: "Set wal_sender_timeout to its default of one minute, or to less where a failover \
        should be quick.",
    limits: "A role's or a database's own setting is not looked at.",
    sources: &["PostgreSQL manual, \"wal_sender_timeout\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let timeout = server.settings.span("wal_sender_timeout")?;
    if timeout.is_none_or(|timeout| !timeout.is_zero()) {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("{} never times out a walsender", server.name),
        )
        .saw("wal_sender_timeout", timeout)
        .fix(remedy::set(server, "wal_sender_timeout", "60s"));
    Ok(vec![finding])
}
