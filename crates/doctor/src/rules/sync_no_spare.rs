//! One more standby lost, and every commit hangs

use crate::commits::{self, Commits};
use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(3),
    slug: "sync-no-spare",
    title: "One more standby lost, and every commit hangs",
    severity: Severity::Warning,
    reads: &[Source::Settings, Source::WalSenders],
    consequence: "When one of the standbys stops, for a restart or a crash, all writes hang until it is \
        back: the policy has as many standbys as it asks for and none to spare. With FIRST 1 \
        and one standby, two servers are less available than one.",
    remedy: "Add a standby to the policy, or accept the wait knowingly, or ask for fewer. A herd of \
        two that must never wait has to be asynchronous, and can then lose its last commits.",
    limits: "It counts the standbys that stream now. A policy that is to block rather than lose \
        anything is a choice; ignore the rule then (`--ignore MND003`).",
    sources: &[
        "PostgreSQL manual, \"Synchronous Replication\", \"Planning for High Availability\"",
    ],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let Some(commits) = Commits::of(server)? else {
        return Ok(Vec::new());
    };
    if commits.streaming() != commits.needed() {
        return Ok(Vec::new());
    }
    let headline = format!(
        "{} has no more standbys than commits wait for: {}",
        server.name,
        commits.needed()
    );
    let finding = RULE
        .on(server, headline)
        .saw("synchronous_standby_names", commits.text)
        .saw("streaming and named", commits::names(&commits.matching))
        .advice("add a standby (`manada join`) and name it too; or let commits wait for nobody:")
        .fix(remedy::set(server, "synchronous_standby_names", ""));
    Ok(vec![finding])
}
