//! There is no WAL archive

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(24),
    slug: "no-archive",
    title: "There is no WAL archive",
    severity: Severity::Note,
    reads: &[Source::Settings],
    consequence: "Replication is no backup: a DROP TABLE is on every standby milliseconds later. Without \
        archived WAL the herd can only be restored to a base backup, and a standby that is too \
        far behind can only be cloned.",
    remedy: "Archive WAL to a place that is on none of these servers, and take base backups.",
    limits: "It cannot see backups that are made by other means.",
    sources: &["PostgreSQL manual, \"Continuous Archiving and Point-in-Time Recovery\""],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    if server.settings.text("archive_mode")? != "off" {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(server, format!("{} archives no WAL", server.name))
        .saw("archive_mode", "off")
        .fix(remedy::set(
            server,
            "archive_command",
            "manada wal push %p --archive /path/of/the/archive",
        ))
        .fix(remedy::set(server, "archive_mode", "on"));
    Ok(vec![finding])
}
