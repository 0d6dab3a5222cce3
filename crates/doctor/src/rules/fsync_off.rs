//! fsync is off

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(25),
    slug: "fsync-off",
    title: "fsync is off",
    severity: Severity::Critical,
    reads: &[Source::Settings],
    consequence: "A crash of the machine leaves a database that is corrupt, often without a sign at \
        first: commits are gone, indexes point nowhere. A standby that acknowledges \
        synchronously with fsync off acknowledges nothing.",
    remedy: "Turn it on. If the server has been through a crash of its machine since, do not trust \
        its data: clone it from another server.",
    limits: "It cannot tell whether the machine has crashed since fsync was turned off.",
    sources: &["PostgreSQL manual, \"fsync\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    if server.settings.flag("fsync")? {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("{} does not wait for its disk", server.name),
        )
        .saw("fsync", false)
        .fix(remedy::set(server, "fsync", "on"));
    Ok(vec![finding])
}
