//! The policy takes anybody for a standby: *

use crate::commits::{self, Commits};
use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(4),
    slug: "sync-any-name",
    title: "The policy takes anybody for a standby: *",
    severity: Severity::Warning,
    reads: &[Source::Settings, Source::WalSenders],
    consequence: "Whoever connects for replication counts: a pg_receivewal on a laptop, a standby being \
        cloned, a standby in another region. Commits are then acknowledged because that one \
        has them, and the standby that takes over may not.",
    remedy: "Name the standbys.",
    limits: "A `*` beside other names weighs as much, and is found too.",
    sources: &["PostgreSQL manual, \"synchronous_standby_names\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let Some(commits) = Commits::of(server)? else {
        return Ok(Vec::new());
    };
    if !commits.rule.has_wildcard() {
        return Ok(Vec::new());
    }
    let connected = commits::names(&commits.connected);
    let finding = RULE
        .on(
            server,
            format!("any receiver counts for the commits of {}", server.name),
        )
        .saw("synchronous_standby_names", commits.text)
        .saw("connected", connected.clone());
    let finding = if connected.is_empty() {
        finding.advice("give synchronous_standby_names the standbys' application_names")
    } else {
        let policy = commits.with_names(&connected);
        finding.fix(remedy::set(server, "synchronous_standby_names", &policy))
    };
    Ok(vec![finding])
}
