//! The server writes too little WAL for a standby

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(64),
    slug: "wal-level-minimal",
    title: "The server writes too little WAL for a standby",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "No standby, no base backup and no archive can be made of it. Changing that takes a \
        restart, on the day when somebody wanted to have a standby quickly.",
    remedy: "Set wal_level to replica and max_wal_senders to 10, and restart.",
    limits: "It cannot be found in a herd that replicates.",
    sources: &["PostgreSQL manual, \"wal_level\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let level = server.settings.text("wal_level")?;
    let senders = server.settings.number("max_wal_senders")?.unsigned_abs();
    if level != "minimal" && senders > 0 {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(server, format!("no standby can follow {}", server.name))
        .saw("wal_level", level)
        .saw("max_wal_senders", senders);
    let finding = if level == "minimal" {
        finding.fix(remedy::set(server, "wal_level", "replica"))
    } else {
        finding
    };
    Ok(vec![if senders == 0 {
        finding.fix(remedy::set(server, "max_wal_senders", "10"))
    } else {
        finding
    }])
}
