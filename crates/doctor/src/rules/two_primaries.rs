//! Two servers of one cluster take writes

use crate::facts::{Herd, Server, Source, Unknown, Why};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(56),
    slug: "two-primaries",
    title: "Two servers of one cluster take writes",
    severity: Severity::Critical,
    reads: &[Source::Recovery],
    consequence: "Each takes writes that the other never gets. Every minute makes it harder: rows \
        differ, sequences give the same number twice, and one server's writes will have to be \
        thrown away or merged by hand.",
    remedy: "Stop writing to one of them now. Decide which one is right by its data, save the \
        other's, and make it a standby of the first: pg_rewind or a new clone.",
    limits: "Only among the servers that were asked: name all hosts in the URI.",
    sources: &["PostgreSQL manual, \"Failover\""],
    check: Check::Herd(check),
};

fn check(herd: &Herd) -> Verdict {
    if herd.servers.is_empty() {
        return Err(Unknown::new(Source::Connection, Why::NoServer));
    }
    let of_herd =
        |server: &&Server| Some(server.identity.system_identifier) == herd.system_identifier();
    let primaries: Vec<&Server> = herd.primaries().filter(of_herd).collect();
    if primaries.len() < 2 {
        return Ok(Vec::new());
    }
    let names: Vec<String> = primaries.iter().map(|server| server.name.clone()).collect();
    let mut finding = RULE.of_herd(format!("{} all take writes", names.join(" and ")));
    for server in &primaries {
        finding = finding
            .saw(format!("timeline of {}", server.name), server.timeline())
            .saw(format!("WAL of {}", server.name), server.identity.flush_lsn);
    }
    let finding = primaries.iter().fold(
        finding.advice("choose the one to keep; on each other, first let nobody write any more:"),
        |finding, server| {
            finding
                .sql(
                    server,
                    "ALTER SYSTEM SET default_transaction_read_only = on;",
                )
                .fix([remedy::reload(server)])
        },
    );
    Ok(vec![finding])
}
