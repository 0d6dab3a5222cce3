//! A synchronous standby answers before it has WAL on its disk

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(7),
    slug: "sync-remote-write",
    title: "A synchronous standby answers before it has WAL on its disk",
    severity: Severity::Note,
    reads: &[Source::Settings],
    consequence: "With remote_write a standby answers once it has handed WAL to its operating system. If \
        the primary is lost and the standby's machine crashes in the same incident (one rack, \
        one power supply), acknowledged commits are gone on both.",
    remedy: "Set synchronous_commit to on, unless this is meant: it costs the time of one flush on \
        the standby.",
    limits: "Silent where no policy is set.",
    sources: &["PostgreSQL manual, \"synchronous_commit\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let policy = server.settings.text("synchronous_standby_names")?;
    let level = server.settings.text("synchronous_commit")?;
    if policy.is_empty() || level != "remote_write" {
        return Ok(Vec::new());
    }
    let headline = format!(
        "commits on {} are acknowledged before a standby has them on its disk",
        server.name
    );
    let finding = RULE
        .on(server, headline)
        .saw("synchronous_standby_names", policy)
        .saw("synchronous_commit", level)
        .fix(remedy::set(server, "synchronous_commit", "on"));
    Ok(vec![finding])
}
