//! A standby never gives up a dead primary

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(52),
    slug: "walreceiver-timeout-off",
    title: "A standby never gives up a dead primary",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "If the connection dies without a word (a cable, a firewall that forgets, a paused \
        host), the standby waits on it for ever: it neither connects again nor follows the new \
        primary. With wal_receiver_status_interval at 0 the primary does not learn how far the \
        standby is.",
    remedy: "Set wal_receiver_timeout to its default of one minute and wal_receiver_status_interval \
        to its default of 10 seconds.",
    limits: "It matters on primaries too, for the day they become standbys; it is found there as a \
        note.",
    sources: &[
        "PostgreSQL manual, \"wal_receiver_timeout\"",
        "PostgreSQL manual, \"wal_receiver_status_interval\"",
    ],
    check: Check::EachServer(check),
};

/// The settings that must not be 0, with their defaults.
const NOT_ZERO: [(&str, &str); 2] = [
    ("wal_receiver_timeout", "60s"),
    ("wal_receiver_status_interval", "10s"),
];

fn check(server: &Server, _: &Herd) -> Verdict {
    let severity = if server.in_recovery() {
        Severity::Warning
    } else {
        Severity::Note
    };
    let mut found = Vec::new();
    for (name, default) in NOT_ZERO {
        let span = server.settings.span(name)?;
        if span.is_none_or(|span| !span.is_zero()) {
            continue;
        }
        found.push(
            RULE.on(server, format!("{name} of {} is 0", server.name))
                .at(severity)
                .saw(name, span)
                .fix(remedy::set(server, name, default)),
        );
    }
    Ok(found)
}
