//! wal_level has a name from long ago

use crate::facts::{Herd, Server, Source};
use crate::finding::Step;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(35),
    slug: "obsolete-wal-level",
    title: "wal_level has a name from long ago",
    severity: Severity::Note,
    reads: &[Source::ConfigFiles],
    consequence: "hot_standby and archive were wal_level's names up to PostgreSQL 9.5. They are still \
        read as replica, without a promise that they will be; a tool that compares files with \
        settings finds a difference where there is none.",
    remedy: "Write replica.",
    limits: "pg_file_settings is for superusers unless it is granted.",
    sources: &["PostgreSQL 9.6 release notes, \"Replication and Recovery\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let entries = server.file_entries.get()?;
    let old = entries.iter().filter_map(|entry| {
        let value = entry.value.as_deref()?;
        let old = entry.name.as_deref() == Some("wal_level")
            && (value.eq_ignore_ascii_case("hot_standby") || value.eq_ignore_ascii_case("archive"));
        old.then_some((entry, value))
    });
    let found = old.map(|(entry, value)| {
        let change = if entry.path.ends_with("postgresql.auto.conf") {
            Step::sql(server, "ALTER SYSTEM SET wal_level = 'replica';")
        } else {
            Step::Line {
                on: server.name.clone(),
                file: format!("{}, line {}", entry.path, entry.line),
                text: "wal_level = 'replica'".to_owned(),
            }
        };
        RULE.on(server, format!("{} says wal_level = {value}", server.name))
            .saw("wal_level in the file", value)
            .fix([change])
    });
    Ok(found.collect())
}
