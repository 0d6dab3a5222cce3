//! Two receivers go by the same name

use crate::commits::Commits;
use crate::facts::{Herd, Server, Source, WalSender};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};
use std::collections::BTreeMap;

pub(crate) static RULE: Rule = Rule {
    id: RuleId(8),
    slug: "duplicate-application-name",
    title: "Two receivers go by the same name",
    severity: Severity::Warning,
    reads: &[Source::WalSenders, Source::Settings],
    consequence: "PostgreSQL tells standbys apart by application_name alone. ANY 2 (s1, s2) is satisfied \
        by two receivers called s1, so a commit may be on one standby where two are promised; \
        and nobody can tell which of them is behind.",
    remedy: "Give each standby its own application_name in primary_conninfo, or its own \
        cluster_name. A standby left over under the old name must be stopped.",
    limits: "A name that no policy asks for is milder, and is said as a note.",
    sources: &[
        "PostgreSQL manual, \"synchronous_standby_names\"",
        "syncrep.c, SyncRepGetCandidateStandbys",
    ],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let senders = server.walsenders.get()?;
    let policy = Commits::of(server)?;
    let mut by_name: BTreeMap<&str, Vec<&WalSender>> = BTreeMap::new();
    for sender in senders.iter().filter(|sender| sender.is_lasting()) {
        by_name
            .entry(&sender.application_name)
            .or_default()
            .push(sender);
    }
    let twice = by_name.into_iter().filter(|(_, same)| same.len() > 1);
    let found = twice.map(|(name, same)| {
        let counted = policy
            .as_ref()
            .is_some_and(|policy| policy.may_wait_for(name));
        let severity = if counted {
            Severity::Warning
        } else {
            Severity::Note
        };
        let headline = format!(
            "{} receivers of {} are called {name}",
            same.len(),
            server.name
        );
        let address = |sender: &&WalSender| {
            sender
                .client_addr
                .clone()
                .unwrap_or_else(|| "a Unix socket".to_owned())
        };
        RULE.on(server, headline)
            .at(severity)
            .saw("application_name", name)
            .saw("from", same.iter().map(address).collect::<Vec<_>>())
            .advice(
                "on each standby but one, give primary_conninfo another application_name \
                 (ALTER SYSTEM SET primary_conninfo = '…', then SELECT pg_reload_conf())",
            )
    });
    Ok(found.collect())
}
