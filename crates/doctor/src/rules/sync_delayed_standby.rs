//! A standby that commits may wait for delays what it replays

use crate::commits::{self, Commits};
use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(9),
    slug: "sync-delayed-standby",
    title: "A standby that commits may wait for delays what it replays",
    severity: Severity::Warning,
    reads: &[Source::Settings, Source::RestrictedSettings],
    consequence: "With synchronous_commit = remote_apply every commit takes as long as the delay. \
        Without, a failover to this standby, which has all commits and is therefore the one to \
        take over, first has to replay the whole delay.",
    remedy: "Take the standby out of the policy: a delayed standby protects against mistakes, not \
        against a dead primary.",
    limits: "With remote_apply it is critical.",
    sources: &["PostgreSQL manual, \"recovery_min_apply_delay\""],
    check: Check::EachStandby(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let primary = herd.primary()?;
    let delay = server.settings.span("recovery_min_apply_delay")?;
    let Some(delay) = delay.filter(|delay| !delay.is_zero()) else {
        return Ok(Vec::new());
    };
    let Some(commits) = Commits::of(primary)? else {
        return Ok(Vec::new());
    };
    let name = commits::application_name(server)?;
    if !commits.may_wait_for(&name) {
        return Ok(Vec::new());
    }
    let level = primary.settings.text("synchronous_commit")?;
    let severity = if level == "remote_apply" {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let finding = RULE
        .on(
            server,
            format!(
                "{name} is in the policy of {} and lags on purpose",
                primary.name
            ),
        )
        .at(severity)
        .saw("recovery_min_apply_delay", delay)
        .saw("synchronous_standby_names", commits.text)
        .saw("synchronous_commit", level)
        .advice(format!(
            "take {name} out of synchronous_standby_names, or end its delay:"
        ))
        .fix(remedy::set(server, "recovery_min_apply_delay", "0"));
    Ok(vec![finding])
}
