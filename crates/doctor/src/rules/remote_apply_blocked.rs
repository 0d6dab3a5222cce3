//! A query on a standby can hold up every commit

use crate::commits::{self, Commits};
use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(10),
    slug: "remote-apply-blocked",
    title: "A query on a standby can hold up every commit",
    severity: Severity::Warning,
    reads: &[
        Source::Settings,
        Source::RestrictedSettings,
        Source::WalSenders,
    ],
    consequence: "synchronous_commit = remote_apply makes commits wait until the standby has replayed \
        them. A standby that lets its queries hold up replay without limit, or a receiver that \
        replays nothing at all (pg_receivewal), makes that wait endless.",
    remedy: "Bound max_standby_streaming_delay on the standby, or set synchronous_commit to on; \
        keep receivers that replay nothing out of a policy with remote_apply.",
    limits: "Silent for other levels of synchronous_commit.",
    sources: &[
        "PostgreSQL manual, \"max_standby_streaming_delay\"",
        "PostgreSQL manual, \"pg_receivewal\"",
    ],
    check: Check::Primary(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let level = server.settings.text("synchronous_commit")?;
    if level != "remote_apply" {
        return Ok(Vec::new());
    }
    let Some(commits) = Commits::of(server)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for sender in &commits.matching {
        if sender.is_streaming() && sender.replay_lsn.is_none() {
            let name = &sender.application_name;
            let headline = format!(
                "commits on {} wait for {name}, which replays nothing",
                server.name
            );
            found.push(
                RULE.on(server, headline)
                    .at(Severity::Critical)
                    .saw("synchronous_commit", level)
                    .saw("replay_lsn", sender.replay_lsn)
                    .fix(remedy::set(server, "synchronous_commit", "on")),
            );
        }
    }
    for standby in herd.standbys() {
        let name = commits::application_name(standby)?;
        let unbounded = standby
            .settings
            .span("max_standby_streaming_delay")?
            .is_none();
        if unbounded && commits.may_wait_for(&name) {
            let headline = format!(
                "a long query on {name} makes every commit on {} wait",
                server.name
            );
            found.push(
                RULE.on(standby, headline)
                    .saw("synchronous_commit", level)
                    .saw("max_standby_streaming_delay", "-1")
                    .fix(remedy::set(standby, "max_standby_streaming_delay", "30s")),
            );
        }
    }
    Ok(found)
}
