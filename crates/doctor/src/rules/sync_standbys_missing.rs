//! Commits wait for standbys that are not there

use crate::commits::{self, Commits};
use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(1),
    slug: "sync-standbys-missing",
    title: "Commits wait for standbys that are not there",
    severity: Severity::Critical,
    reads: &[Source::Settings, Source::WalSenders],
    consequence: "Every commit hangs until enough standbys with these names stream. The application \
        stops without an error: sessions wait in SyncRep, and the pool of connections runs \
        dry. A wait that is cancelled returns as if the commit had been replicated.",
    remedy: "Bring a standby back, or give a standby the name the policy asks for (application_name \
        in its primary_conninfo). If the service must go on before that, say `manada sync \
        off`, knowing that commits are then on one server only.",
    limits: "A standby that is connected and catching up does not count: PostgreSQL waits for \
        streaming ones alone.",
    sources: &[
        "PostgreSQL manual, \"Synchronous Replication\"",
        "syncrep.c, SyncRepGetSyncRecPtr",
    ],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let Some(commits) = Commits::of(server)? else {
        return Ok(Vec::new());
    };
    let (streaming, needed) = (commits.streaming(), commits.needed());
    if streaming >= needed {
        return Ok(Vec::new());
    }
    let headline = format!(
        "commits on {} hang: standbys needed {needed}, streaming {streaming}",
        server.name
    );
    let finding = RULE
        .on(server, headline)
        .saw("synchronous_standby_names", commits.text)
        .saw("streaming and named", streaming)
        .saw("connected", commits::names(&commits.connected));
    let streaming_names: Vec<String> = commits
        .connected
        .iter()
        .filter(|sender| sender.is_streaming())
        .map(|sender| sender.application_name.clone())
        .collect();
    let finding = match streaming_names.first() {
        Some(name) if streaming_names.len() >= needed && !commits.may_wait_for(name) => {
            let policy = commits.with_names(&streaming_names);
            finding
                .advice("wait for those that are connected instead:")
                .fix(remedy::set(server, "synchronous_standby_names", &policy))
        }
        Some(_) | None => finding
            .advice("start the missing standby; or, knowing that no standby then has a commit:")
            .fix(remedy::set(server, "synchronous_standby_names", "")),
    };
    Ok(vec![finding])
}
