//! Another file overrides manada.conf

use crate::facts::{FileEntry, Herd, Server, Source};
use crate::finding::Step;
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(31),
    slug: "managed-setting-overridden",
    title: "Another file overrides manada.conf",
    severity: Severity::Warning,
    reads: &[Source::ConfigFiles],
    consequence: "What manada.conf says is not what the server does. `manada sync` and the other \
        commands write there, and their change has no effect for as long as the other entry \
        stands.",
    remedy: "Reset the setting that ALTER SYSTEM wrote, or take the line out of the other file.",
    limits: "Silent where there is no manada.conf. pg_file_settings is for superusers unless it is \
        granted.",
    sources: &[
        "PostgreSQL manual, \"ALTER SYSTEM\"",
        "PostgreSQL manual, \"pg_file_settings\"",
    ],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let entries = server.file_entries.get()?;
    let ours = entries
        .iter()
        .filter(|entry| entry.path.ends_with("/manada.conf"));
    let mut found = Vec::new();
    for entry in ours {
        let Some(name) = &entry.name else { continue };
        let later = |other: &&FileEntry| other.name == entry.name && other.order > entry.order;
        let Some(winner) = entries.iter().rfind(later) else {
            continue;
        };
        if winner.path == entry.path || (winner.value.is_some() && winner.value == entry.value) {
            continue;
        }
        let finding = RULE
            .on(
                server,
                format!("{name} of {}'s manada.conf is overridden", server.name),
            )
            .saw("manada.conf", entry.value.clone())
            .saw(winner.path.as_str(), winner.value.clone());
        found.push(if winner.path.ends_with("postgresql.auto.conf") {
            finding
                .sql(server, format!("ALTER SYSTEM RESET {name};"))
                .fix([remedy::reload(server)])
        } else {
            finding
                .fix([Step::Line {
                    on: server.name.clone(),
                    file: format!("{}, line {}", winner.path, winner.line),
                    text: format!("# {name} is set in manada.conf"),
                }])
                .fix([remedy::reload(server)])
        });
    }
    Ok(found)
}
