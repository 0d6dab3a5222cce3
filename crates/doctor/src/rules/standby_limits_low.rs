//! A standby's limits are below its primary's

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(30),
    slug: "standby-limits-low",
    title: "A standby's limits are below its primary's",
    severity: Severity::Critical,
    reads: &[Source::Settings],
    consequence: "The standby pauses its replay as soon as the primary's new limit arrives in the WAL, \
        and then refuses to start: \"insufficient parameter settings\". It looks connected, \
        receives everything, and falls behind for ever.",
    remedy: "Raise the limits on the standby, with a restart. Raising goes standbys first, lowering \
        primary first.",
    limits: "These five settings are the ones PostgreSQL compares.",
    sources: &[
        "PostgreSQL manual, \"Hot Standby\", \"Administrator's Overview\"",
        "xlogrecovery.c, RecoveryRequiresIntParameter",
    ],
    check: Check::EachStandby(check),
};

/// What PostgreSQL compares.
const COMPARED: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

fn check(server: &Server, herd: &Herd) -> Verdict {
    let primary = herd.primary()?;
    let mut found = Vec::new();
    for name in COMPARED {
        let here = server.settings.number(name)?.unsigned_abs();
        let there = primary.settings.number(name)?.unsigned_abs();
        if here < there {
            let headline = format!(
                "{name} is {here} on {} and {there} on {}",
                server.name, primary.name
            );
            found.push(
                RULE.on(server, headline)
                    .saw(format!("{name} on {}", server.name), here)
                    .saw(format!("{name} on {}", primary.name), there)
                    .fix(remedy::set(server, name, &there.to_string())),
            );
        }
    }
    Ok(found)
}
