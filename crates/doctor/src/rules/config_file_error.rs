//! A configuration file has an error

use crate::facts::{FileEntry, Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(33),
    slug: "config-file-error",
    title: "A configuration file has an error",
    severity: Severity::Critical,
    reads: &[Source::ConfigFiles],
    consequence: "A reload ignores the whole change, the right lines with the wrong one; and the server \
        does not start any more after the next stop. A failover or a crash turns a typing \
        error into an outage.",
    remedy: "Correct the line and reload.",
    limits: "What merely waits for a restart is MND032. pg_file_settings is for superusers unless \
        it is granted.",
    sources: &["PostgreSQL manual, \"pg_file_settings\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let entries = server.file_entries.get()?;
    let pending = server.settings.pending_restart()?;
    let waits = |entry: &FileEntry| {
        let name = entry.name.as_deref();
        name.is_some_and(|name| pending.contains(&name))
    };
    let wrong = entries
        .iter()
        .filter(|entry| entry.error.is_some() && !waits(entry));
    let found = wrong.map(|entry| {
        let place = format!("{}, line {}", entry.path, entry.line);
        let what = entry.name.as_deref().unwrap_or("a line that can't be read");
        let finding = RULE
            .on(server, format!("{what} in {place}"))
            .saw("error", entry.error.clone())
            .saw("value", entry.value.clone());
        let finding = match &entry.name {
            Some(name) if entry.path.ends_with("postgresql.auto.conf") => {
                finding.sql(server, format!("ALTER SYSTEM RESET {name};"))
            }
            Some(_) | None => finding.advice(format!("correct {place}")),
        };
        finding.fix([remedy::reload(server)])
    });
    Ok(found.collect())
}
