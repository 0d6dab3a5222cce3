//! A changed setting waits for a restart

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(32),
    slug: "pending-restart",
    title: "A changed setting waits for a restart",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "The server does not do what its files say. The change comes with the next restart, \
        which may be a crash in the night or a failover, and then nobody thinks of it.",
    remedy: "Restart at a time of your choosing (a standby first), or take the change back.",
    limits: "It says which settings wait, not what they will be: that is in pg_file_settings.",
    sources: &["PostgreSQL manual, \"pg_settings\", pending_restart"],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let pending = server.settings.pending_restart()?;
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = pending.iter().map(|name| (*name).to_owned()).collect();
    let mut finding = RULE.on(
        server,
        format!("{} must be restarted for {}", server.name, names.join(", ")),
    );
    for name in names {
        let now = server.settings.text(&name).ok().map(str::to_owned);
        finding = finding.saw(format!("{name} in force"), now);
    }
    Ok(vec![finding.fix([remedy::restart(server)])])
}
