//! A server of the herd does not answer

use crate::facts::{Herd, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(63),
    slug: "server-unreachable",
    title: "A server of the herd does not answer",
    severity: Severity::Critical,
    reads: &[Source::Connection],
    consequence: "What is not seen cannot be judged: the herd may have one standby fewer than it seems, \
        or a second primary. None of the other rules were held against it.",
    remedy: "See whether the host is up, the server runs and its access rules let this role in.",
    limits: "A standby that takes no sessions because hot_standby is off is MND046.",
    sources: &["PostgreSQL manual, \"Client Connection Problems\""],
    check: Check::Herd(check),
};

fn check(herd: &Herd) -> Verdict {
    let silent = herd
        .unreached
        .iter()
        .filter(|server| !server.hot_standby_off);
    let found = silent.map(|server| {
        RULE.of_herd(format!("{} does not answer", server.name))
            .saw("server", server.name.as_str())
            .saw("the attempt", server.error.as_str())
            .advice(format!(
                "on the host of {}: is the server running (pg_ctl status)?",
                server.name
            ))
    });
    Ok(found.collect())
}
