//! A standby does not follow the next timeline

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(50),
    slug: "timeline-pinned",
    title: "A standby does not follow the next timeline",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "After a failover or a switchover the new primary is on a new timeline. This standby \
        stays on the old one, receives nothing more, and has to be set right by hand in the \
        middle of the incident.",
    remedy: "Set recovery_target_timeline to latest, which is the default.",
    limits: "It matters on primaries too, for the day they become standbys; it is found there as a \
        note.",
    sources: &["PostgreSQL manual, \"recovery_target_timeline\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let target = server.settings.text("recovery_target_timeline")?;
    if target == "latest" {
        return Ok(Vec::new());
    }
    let severity = if server.in_recovery() {
        Severity::Warning
    } else {
        Severity::Note
    };
    let finding = RULE
        .on(server, format!("{} stays on its timeline", server.name))
        .at(severity)
        .saw("recovery_target_timeline", target)
        .saw("timeline", server.timeline())
        .fix(remedy::set(server, "recovery_target_timeline", "latest"));
    Ok(vec![finding])
}
