//! The policy is bypassed: commits do not wait

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(5),
    slug: "sync-commit-off",
    title: "The policy is bypassed: commits do not wait",
    severity: Severity::Critical,
    reads: &[Source::Settings],
    consequence: "The herd looks synchronous, sync_state says so, and yet no commit waits for a standby: \
        with local it waits for the primary's disk only, with off not even for that. What was \
        acknowledged is lost with the primary.",
    remedy: "Set synchronous_commit to on. Sessions that can afford a loss can say SET LOCAL \
        synchronous_commit for a transaction of theirs.",
    limits: "Silent where no policy is set: then nothing promises that commits wait.",
    sources: &["PostgreSQL manual, \"synchronous_commit\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let policy = server.settings.text("synchronous_standby_names")?;
    let level = server.settings.text("synchronous_commit")?;
    if policy.is_empty() || !matches!(level, "off" | "local") {
        return Ok(Vec::new());
    }
    let headline = format!("commits on {} wait for no standby", server.name);
    let finding = RULE
        .on(server, headline)
        .saw("synchronous_standby_names", policy)
        .saw("synchronous_commit", level)
        .fix(remedy::set(server, "synchronous_commit", "on"));
    Ok(vec![finding])
}
