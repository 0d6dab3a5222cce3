//! Holds the rules against the facts.

use serde::Serialize;

use crate::facts::{Herd, Server, Source, Unknown, Why};
use crate::finding::Finding;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

/// What an examination came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The rules that were held against at least one server, in the registry's order.
    pub checked: Vec<RuleId>,
    /// What is wrong, in the registry's order.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub not_checked: Vec<NotChecked>,
}

/// A rule that could not be held against a server, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// The rule.
    pub rule: RuleId,
    /// The server; none where it is the herd.
    pub server: Option<String>,
    /// The fact that is missing.
    pub lacks: Unknown,
}

impl Report {
    /// The findings of one severity.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.severity == severity)
    }

    /// The gravest finding's severity.
    pub fn gravest(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// Holds `rules` against the facts, in their order.
pub fn examine<'a>(herd: &Herd, rules: impl IntoIterator<Item = &'a Rule>) -> Report {
    let mut report = Report::default();
    for rule in rules {
        report.apply(rule, herd);
    }
    report
}

impl Report {
    fn apply(&mut self, rule: &Rule, herd: &Herd) {
        match rule.check {
            Check::Herd(check) => self.take(rule, None, check(herd)),
            Check::EachServer(check) => self.each(rule, herd, herd.servers.iter(), check),
            Check::Primary(check) => self.each(rule, herd, herd.primaries(), check),
            Check::EachStandby(check) => self.each(rule, herd, herd.standbys(), check),
        }
    }

    fn each<'a>(
        &mut self,
        rule: &Rule,
        herd: &Herd,
        servers: impl Iterator<Item = &'a Server>,
        check: fn(&Server, &Herd) -> Verdict,
    ) {
        let mut asked = false;
        for server in servers {
            asked = true;
            self.take(rule, Some(server), check(server, herd));
        }
        if !asked {
            let why = match rule.check {
                Check::Primary(_) => Why::NoPrimary,
                Check::EachStandby(_) => Why::NoStandby,
                Check::EachServer(_) | Check::Herd(_) => Why::NoServer,
            };
            let lacks = Unknown::new(Source::Connection, why);
            self.take(rule, None, Err(lacks));
        }
    }

    fn take(&mut self, rule: &Rule, server: Option<&Server>, verdict: Verdict) {
        match verdict {
            Ok(findings) => {
                if self.checked.last() != Some(&rule.id) {
                    self.checked.push(rule.id);
                }
                self.findings.extend(findings);
            }
            Err(lacks) => self.not_checked.push(NotChecked {
                rule: rule.id,
                server: server.map(|server| server.name.clone()),
                lacks,
            }),
        }
    }
}
