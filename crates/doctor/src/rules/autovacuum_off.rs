//! autovacuum is off

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(36),
    slug: "autovacuum-off",
    title: "autovacuum is off",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "Dead rows stay, tables and indexes grow, the planner's statistics grow stale, and the \
        age of the oldest transaction climbs until PostgreSQL vacuums by force, all tables at \
        once, or stops taking writes. The standbys replay all of it.",
    remedy: "Turn it on; tune it for a table with ALTER TABLE … SET (autovacuum_…).",
    limits: "Tables for which it was turned off one by one are not looked at.",
    sources: &["PostgreSQL manual, \"The Autovacuum Daemon\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let on = server.settings.flag("autovacuum")?;
    let counts = server.settings.flag("track_counts")?;
    if on && counts {
        return Ok(Vec::new());
    }
    let name = if on { "track_counts" } else { "autovacuum" };
    let finding = RULE
        .on(
            server,
            format!("nothing is vacuumed by itself on {}", server.name),
        )
        .saw("autovacuum", on)
        .saw("track_counts", counts)
        .fix(remedy::set(server, name, "on"));
    Ok(vec![finding])
}
