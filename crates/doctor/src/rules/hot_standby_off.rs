//! A standby takes no queries

use crate::facts::{Herd, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(46),
    slug: "hot-standby-off",
    title: "A standby takes no queries",
    severity: Severity::Warning,
    reads: &[Source::Settings, Source::Connection],
    consequence: "It cannot be read from, and it cannot be asked how it is: neither status nor doctor \
        can see what it has. On a primary the setting waits for the day it becomes a standby.",
    remedy: "Turn hot_standby on, which takes a restart of that server.",
    limits: "A standby with hot_standby off refuses the session; what it says then is how it is \
        found.",
    sources: &["PostgreSQL manual, \"hot_standby\""],
    check: Check::Herd(check),
};

fn check(herd: &Herd) -> Verdict {
    let mut found = Vec::new();
    for silent in herd
        .unreached
        .iter()
        .filter(|server| server.hot_standby_off)
    {
        found.push(
            RULE.of_herd(format!(
                "{} is a standby that takes no sessions",
                silent.name
            ))
            .saw("server", silent.name.as_str())
            .saw("it said", silent.error.as_str())
            .advice(format!(
                "on {}, write hot_standby = on in postgresql.conf and restart it",
                silent.name
            )),
        );
    }
    for server in &herd.servers {
        if server.settings.flag("hot_standby")? {
            continue;
        }
        found.push(
            RULE.on(
                server,
                format!("{} would take no sessions as a standby", server.name),
            )
            .saw("hot_standby", false)
            .fix(remedy::set(server, "hot_standby", "on")),
        );
    }
    Ok(found)
}
