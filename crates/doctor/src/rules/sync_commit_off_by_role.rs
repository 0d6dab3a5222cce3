//! A role or a database bypasses the policy

use crate::facts::{Herd, RoleSetting, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(6),
    slug: "sync-commit-off-by-role",
    title: "A role or a database bypasses the policy",
    severity: Severity::Warning,
    reads: &[Source::Settings, Source::RoleSettings],
    consequence: "Commits of these sessions wait for no standby although the server's policy says so, \
        and nobody sees it in the server's settings. What they were told is committed is lost \
        with the primary.",
    remedy: "Take the setting away, or write down that these data may be lost.",
    limits: "What a session sets for itself is not visible to others.",
    sources: &[
        "PostgreSQL manual, \"ALTER ROLE\"",
        "PostgreSQL manual, \"pg_db_role_setting\"",
    ],
    check: Check::Primary(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let policy = server.settings.text("synchronous_standby_names")?;
    let entries = server.role_settings.get()?;
    let bypass = |entry: &&RoleSetting| {
        entry.name == "synchronous_commit" && matches!(entry.value.as_str(), "off" | "local")
    };
    if policy.is_empty() {
        return Ok(Vec::new());
    }
    let found = entries.iter().filter(bypass).map(|entry| {
        RULE.on(
            server,
            format!("commits of {} wait for no standby", whose(entry)),
        )
        .saw("synchronous_standby_names", policy)
        .saw("role", entry.role.clone())
        .saw("database", entry.database.clone())
        .saw("synchronous_commit", entry.value.as_str())
        .sql(server, reset(entry))
    });
    Ok(found.collect())
}

fn whose(entry: &RoleSetting) -> String {
    match (&entry.role, &entry.database) {
        (Some(role), Some(database)) => format!("role {role} in database {database}"),
        (Some(role), None) => format!("role {role}"),
        (None, Some(database)) => format!("database {database}"),
        (None, None) => "all roles".to_owned(),
    }
}

fn reset(entry: &RoleSetting) -> String {
    let name = &entry.name;
    let identifier = remedy::identifier;
    match (&entry.role, &entry.database) {
        (Some(role), Some(database)) => format!(
            "ALTER ROLE {} IN DATABASE {} RESET {name};",
            identifier(role),
            identifier(database)
        ),
        (Some(role), None) => format!("ALTER ROLE {} RESET {name};", identifier(role)),
        (None, Some(database)) => {
            format!("ALTER DATABASE {} RESET {name};", identifier(database))
        }
        (None, None) => format!("ALTER ROLE ALL RESET {name};"),
    }
}
