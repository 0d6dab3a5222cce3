//! full_page_writes is off

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(26),
    slug: "full-page-writes-off",
    title: "full_page_writes is off",
    severity: Severity::Critical,
    reads: &[Source::Settings],
    consequence: "A crash in the middle of writing a page leaves one half old and one half new, and WAL \
        alone cannot repair it: the page is corrupt. Base backups taken meanwhile are \
        worthless, and pg_rewind refuses.",
    remedy: "Turn it on. Only a file system that never tears a page (ZFS) makes it superfluous.",
    limits: "Silent on standbys: they write what the primary wrote. They are told when they are \
        promoted.",
    sources: &["PostgreSQL manual, \"full_page_writes\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    if server.settings.flag("full_page_writes")? {
        return Ok(Vec::new());
    }
    // A standby writes no full pages; the setting waits there for a promotion.
    let severity = if server.in_recovery() {
        Severity::Warning
    } else {
        Severity::Critical
    };
    let finding = RULE
        .on(server, format!("{} cannot repair torn pages", server.name))
        .at(severity)
        .saw("full_page_writes", false)
        .fix(remedy::set(server, "full_page_writes", "on"));
    Ok(vec![finding])
}
