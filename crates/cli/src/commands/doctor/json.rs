//! What `manada doctor` prints for programs.

use manada_doctor::{Finding, NotChecked, RULES, Report, Rule, RuleId, Severity};
use serde::Serialize;
use serde_json::{Value, json};

use super::Examination;

/// `manada.doctor/1`.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    format: &'static str,
    servers: Vec<Server<'a>>,
    /// Servers that did not answer.
    unreached: Vec<Unreached<'a>>,
    /// Servers that are known from others only.
    not_asked: &'a [String],
    counts: Counts,
    findings: Vec<Found<'a>>,
    checked: &'a [RuleId],
    not_checked: &'a [NotChecked],
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    role: &'static str,
    version: String,
    system_identifier: String,
}

#[derive(Serialize)]
struct Unreached<'a> {
    name: &'a str,
    error: &'a str,
}

#[derive(Serialize)]
struct Counts {
    critical: usize,
    warning: usize,
    note: usize,
    rules_checked: usize,
    rules_not_checked: usize,
}

/// A finding with what its rule says of all such.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    name: &'static str,
    title: &'static str,
    consequence: &'static str,
    page: String,
}

impl<'a> Document<'a> {
    pub(super) fn of(examination: &'a Examination) -> Document<'a> {
        let report = &examination.report;
        let herd = &examination.herd;
        Document {
            format: "manada.doctor/1",
            servers: herd.servers.iter().map(Server::of).collect(),
            unreached: herd.unreached.iter().map(Unreached::of).collect(),
            not_asked: &examination.not_asked,
            counts: Counts::of(report),
            findings: report.findings.iter().filter_map(Found::of).collect(),
            checked: &report.checked,
            not_checked: &report.not_checked,
        }
    }
}

impl<'a> Server<'a> {
    fn of(server: &'a manada_doctor::facts::Server) -> Server<'a> {
        Server {
            name: &server.name,
            role: if server.in_recovery() {
                "standby"
            } else {
                "primary"
            },
            version: server.identity.version.to_string(),
            system_identifier: server.identity.system_identifier.to_string(),
        }
    }
}

impl<'a> Unreached<'a> {
    fn of(server: &'a manada_doctor::facts::Unreached) -> Unreached<'a> {
        Unreached {
            name: &server.name,
            error: &server.error,
        }
    }
}

impl Counts {
    fn of(report: &Report) -> Counts {
        let rules = super::text::not_checked_at_all(report);
        Counts {
            critical: report.of(Severity::Critical).count(),
            warning: report.of(Severity::Warning).count(),
            note: report.of(Severity::Note).count(),
            rules_checked: report.checked.len(),
            rules_not_checked: rules.len(),
        }
    }
}

impl<'a> Found<'a> {
    fn of(finding: &'a Finding) -> Option<Found<'a>> {
        let rule = manada_doctor::find(finding.rule)?;
        Some(Found {
            finding,
            name: rule.slug,
            title: rule.title,
            consequence: rule.consequence,
            page: page_of(rule),
        })
    }
}

fn page_of(rule: &Rule) -> String {
    format!("docs/doctor/{}.md", rule.id)
}

/// All rules.
pub(super) fn list() -> Value {
    let rules: Vec<Value> = RULES.iter().map(|rule| about(rule)).collect();
    json!({ "format": "manada.doctor.rules/1", "rules": rules })
}

/// One rule.
pub(super) fn explain(rule: &Rule) -> Value {
    json!({
        "format": "manada.doctor.rule/1",
        "rule": about(rule),
        "consequence": rule.consequence,
        "remedy": rule.remedy,
        "limits": rule.limits,
        "sources": rule.sources,
    })
}

fn about(rule: &Rule) -> Value {
    let reads: Vec<Value> = rule
        .reads
        .iter()
        .map(|source| json!({ "source": source.name(), "needs": source.right().to_string() }))
        .collect();
    json!({
        "id": rule.id,
        "name": rule.slug,
        "severity": rule.severity,
        "title": rule.title,
        "reads": reads,
        "page": page_of(rule),
    })
}
