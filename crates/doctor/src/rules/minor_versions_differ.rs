//! Servers run different minor versions

use crate::facts::{Herd, Server, Source, Unknown, Why};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(61),
    slug: "minor-versions-differ",
    title: "Servers run different minor versions",
    severity: Severity::Note,
    reads: &[Source::Connection],
    consequence: "The older one has bugs that the newer one has not, some of them of replication and of \
        lost data. Which of them is primary then decides which bugs there are.",
    remedy: "Upgrade the older ones: standbys first, then a switchover, then the old primary.",
    limits: "In the middle of a rolling upgrade this is as it should be.",
    sources: &["PostgreSQL manual, \"Upgrading a PostgreSQL Cluster\""],
    check: Check::Herd(check),
};

fn check(herd: &Herd) -> Verdict {
    let newest = herd
        .servers
        .iter()
        .map(|server| server.identity.version)
        .max();
    let Some(newest) = newest else {
        return Err(Unknown::new(Source::Connection, Why::NoServer));
    };
    let older: Vec<&Server> = herd
        .servers
        .iter()
        .filter(|server| server.identity.version < newest)
        .collect();
    if older.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = older.iter().map(|server| server.name.as_str()).collect();
    let mut finding = RULE.of_herd(format!(
        "{} should be upgraded to {newest}",
        names.join(", ")
    ));
    for server in &herd.servers {
        let version = server.identity.version.to_string();
        finding = finding.saw(format!("version of {}", server.name), version);
    }
    Ok(vec![finding.advice(format!(
        "install PostgreSQL {newest} on the hosts of {} and restart them, standbys first",
        names.join(", ")
    ))])
}
