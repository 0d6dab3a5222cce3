//! Clocks of the herd differ

use crate::facts::{Herd, Source, Unknown, Why};
use crate::finding::Step;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};
use std::time::Duration;

pub(crate) static RULE: Rule = Rule {
    id: RuleId(62),
    slug: "clock-skew",
    title: "Clocks of the herd differ",
    severity: Severity::Warning,
    reads: &[Source::Clock],
    consequence: "A delayed standby delays by too much or too little, point-in-time restores end at the \
        wrong moment, lag in time is misread, certificates are refused as not yet valid, and \
        logs of an incident cannot be put in order.",
    remedy: "Run an NTP client (chrony, systemd-timesyncd) on every host.",
    limits: "Differences below two seconds, or below what the time of an answer leaves uncertain, \
        are not found.",
    sources: &["PostgreSQL manual, \"recovery_min_apply_delay\""],
    check: Check::Herd(check),
};

fn check(herd: &Herd) -> Verdict {
    let mut clocks = Vec::new();
    for server in &herd.servers {
        clocks.push((server, *server.clock.ahead_s.get()?));
    }
    let Some((first, first_ahead_s)) = clocks.first().copied() else {
        return Err(Unknown::new(Source::Clock, Why::NoServer));
    };
    let found = clocks.iter().skip(1).filter_map(|(server, ahead_s)| {
        let apart_s = ahead_s - first_ahead_s;
        let uncertain = first.clock.error + server.clock.error;
        let apart = Duration::try_from_secs_f64(apart_s.abs()).unwrap_or(Duration::MAX);
        if apart.saturating_sub(uncertain) <= herd.limits.clock_skew_max {
            return None;
        }
        let word = if apart_s > 0.0 { "ahead of" } else { "behind" };
        Some(
            RULE.on(
                server,
                format!(
                    "the clock of {} is {word} that of {}",
                    server.name, first.name
                ),
            )
            .saw("difference", apart)
            .saw("uncertain by", uncertain)
            .fix([Step::shell(server, "timedatectl set-ntp true")]),
        )
    });
    Ok(found.collect())
}
