//! The policy names a standby that is not connected

use crate::commits::{self, Commits};
use crate::facts::{Herd, Server, Source, WalSender};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(2),
    slug: "sync-name-unknown",
    title: "The policy names a standby that is not connected",
    severity: Severity::Warning,
    reads: &[Source::Settings, Source::WalSenders],
    consequence: "The name adds nothing to safety while it looks as if it did: the policy has one \
        standby fewer to choose from. A typing error shows only on the day the other standby \
        stops and every commit hangs.",
    remedy: "Correct the name, or start the standby that has it, or take it out of the policy.",
    limits: "Silent where so few standbys are left that commits hang: that is MND001.",
    sources: &["PostgreSQL manual, \"synchronous_standby_names\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let Some(commits) = Commits::of(server)? else {
        return Ok(Vec::new());
    };
    if commits.streaming() < commits.needed() {
        return Ok(Vec::new());
    }
    let absent: Vec<String> = commits
        .rule
        .names
        .iter()
        .filter(|name| {
            let matches = |sender: &&WalSender| name.matches(&sender.application_name);
            !commits.connected.iter().any(matches)
        })
        .map(|name| name.as_str().to_owned())
        .collect();
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    let headline = format!(
        "nobody called {} is connected to {}",
        absent.join(", "),
        server.name
    );
    let present = commits::names(&commits.matching);
    let finding = RULE
        .on(server, headline)
        .saw("synchronous_standby_names", commits.text)
        .saw("not connected", absent)
        .saw("connected", commits::names(&commits.connected))
        .advice("start the standby, or name those that are there:")
        .fix(remedy::set(
            server,
            "synchronous_standby_names",
            &commits.with_names(&present),
        ));
    Ok(vec![finding])
}
