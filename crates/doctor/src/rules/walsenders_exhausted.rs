//! There is no room for another walsender

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(17),
    slug: "walsenders-exhausted",
    title: "There is no room for another walsender",
    severity: Severity::Warning,
    reads: &[Source::WalSenders, Source::Settings],
    consequence: "A standby that has lost its connection is refused until its old walsender has timed \
        out (\"number of requested standby connections exceeds max_wal_senders\"), and no base \
        backup can be taken. More room takes a restart.",
    remedy: "Raise max_wal_senders on the standbys first, then on the primary, each at a restart.",
    limits: "One walsender less than standbys and one base backup need is found.",
    sources: &["PostgreSQL manual, \"max_wal_senders\""],
    check: Check::EachServer(check),
};

/// A base backup takes two: one for the files, one for the WAL.
const FREE_MIN: u64 = 2;

fn check(server: &Server, herd: &Herd) -> Verdict {
    let used = server.walsenders.get()?.len() as u64;
    let all = server.settings.number("max_wal_senders")?.unsigned_abs();
    if used == 0 || all.saturating_sub(used) >= FREE_MIN {
        return Ok(Vec::new());
    }
    let wanted = (used + 5).to_string();
    let headline = format!("{used} of {all} walsenders on {} are taken", server.name);
    let finding = RULE
        .on(server, headline)
        .saw("max_wal_senders", all)
        .saw("pg_stat_replication", used);
    // A standby with less than its primary stops replaying, so it goes first.
    let followers = herd
        .standbys()
        .filter(|standby| standby.name != server.name);
    let steps = followers.flat_map(|standby| remedy::set(standby, "max_wal_senders", &wanted));
    Ok(vec![finding.fix(steps).fix(remedy::set(
        server,
        "max_wal_senders",
        &wanted,
    ))])
}
