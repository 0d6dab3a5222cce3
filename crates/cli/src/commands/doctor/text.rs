//! What `manada doctor` prints for people.

use std::collections::BTreeMap;

use anstyle::Style;
use manada_doctor::{Finding, NotChecked, RULES, Report, Rule, RuleId, Severity, Step};
use manada_model::wording::shown;

use super::Examination;
use crate::text::paragraph;
use crate::ui::{accent, paint};

/// The examination: the findings, the gravest first, and what was not checked.
pub(super) fn render(examination: &Examination) -> String {
    let report = &examination.report;
    let mut text = servers(examination) + "\n";
    for severity in Severity::GRAVEST_FIRST {
        let mut told = None;
        for finding in report.of(severity) {
            if told.is_none() {
                text += &format!("{}\n", paint(style(severity), heading(severity)));
            }
            // Why it hurts is said once for findings of one rule that follow each other.
            text += &block(finding, told == Some(finding.rule));
            told = Some(finding.rule);
        }
    }
    let unchecked = unchecked(report);
    if !unchecked.is_empty() {
        text += &format!("{unchecked}\n");
    }
    text + &summary(report)
}

fn servers(examination: &Examination) -> String {
    let asked = examination.herd.servers.iter().map(|server| {
        let role = if server.in_recovery() {
            "standby"
        } else {
            "primary"
        };
        format!("{}\u{A0}({role})", shown(&server.name))
    });
    let silent = examination
        .herd
        .unreached
        .iter()
        .map(|server| format!("{}\u{A0}(no\u{A0}answer)", shown(&server.name)));
    let all: Vec<String> = asked.chain(silent).collect();
    let mut text = paragraph("examined: ", &all.join(", "));
    if !examination.not_asked.is_empty() {
        let names = shown(&examination.not_asked.join(", "));
        let why = format!("{names} (known from the primary, and not reached from here)");
        text += &paragraph("not asked: ", &why);
    }
    text
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => accent::BAD,
        Severity::Warning => accent::WARN,
        Severity::Note => accent::STRONG,
    }
}

fn heading(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::Warning => "WARNING",
        Severity::Note => "NOTE",
    }
}

fn block(finding: &Finding, why_was_told: bool) -> String {
    let id = paint(accent::STRONG, finding.rule);
    let mut text = paragraph(&format!("{id}  "), &shown(&finding.headline));
    for (index, evidence) in finding.evidence.iter().enumerate() {
        let label = if index == 0 { "  seen   " } else { "         " };
        let seen = format!("{} = {}", shown(&evidence.name), evidence.value);
        text += &paragraph(label, &seen);
    }
    let rule = manada_doctor::find(finding.rule);
    if let Some(rule) = rule.filter(|_| !why_was_told) {
        text += &paragraph("  why    ", rule.consequence);
    }
    text += &fix(&finding.fix);
    text + "\n"
}

/// The steps, those for one place under one heading. What is to be typed, and the name of a file, is
/// never broken, so that it can be copied.
fn fix(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut place = None;
    for step in steps {
        let label = if text.is_empty() {
            "  fix    "
        } else {
            "         "
        };
        let (here, typed) = match step {
            Step::Do { text: what } => {
                text += &paragraph(label, &shown(what));
                place = None;
                continue;
            }
            Step::Sql { on, text } => (format!("on {}, in SQL:", shown(on)), text),
            Step::Shell { on, text } => (format!("on the host of {}:", shown(on)), text),
            Step::Line { on, file, text } => {
                (format!("on {}, in {}:", shown(on), shown(file)), text)
            }
        };
        if place.as_ref() != Some(&here) {
            text += &format!("{label}{here}\n");
            place = Some(here);
        }
        text += &format!("           {}\n", paint(accent::TYPE, shown(typed)));
    }
    text
}

/// The rules that could not be checked anywhere.
pub(super) fn not_checked_at_all(report: &Report) -> Vec<RuleId> {
    let mut rules: Vec<RuleId> = report
        .not_checked
        .iter()
        .map(|not| not.rule)
        .filter(|rule| !report.checked.contains(rule))
        .collect();
    rules.dedup();
    rules
}

/// What was not checked, by its reason.
fn unchecked(report: &Report) -> String {
    if report.not_checked.is_empty() {
        return String::new();
    }
    let mut reasons: BTreeMap<String, Vec<&NotChecked>> = BTreeMap::new();
    for not in &report.not_checked {
        reasons.entry(not.lacks.to_string()).or_default().push(not);
    }
    let mut text = format!("{}\n", paint(accent::STRONG, "NOT CHECKED"));
    for (reason, lacking) in reasons {
        let mut rules: Vec<String> = lacking.iter().map(|not| not.rule.to_string()).collect();
        rules.dedup();
        let mut servers: Vec<&str> = lacking
            .iter()
            .filter_map(|not| not.server.as_deref())
            .collect();
        servers.sort_unstable();
        servers.dedup();
        let place = if servers.is_empty() {
            String::new()
        } else {
            format!(" on {}", servers.join(", "))
        };
        text += &paragraph("  ", &shown(&format!("{}{place}:", rules.join(" "))));
        text += &paragraph("    ", &shown(&reason));
    }
    text
}

fn summary(report: &Report) -> String {
    let counts: Vec<String> = Severity::GRAVEST_FIRST
        .into_iter()
        .filter_map(|severity| {
            let count = report.of(severity).count();
            let word = match (severity, count) {
                (_, 0) => return None,
                (Severity::Critical, _) => "critical",
                (Severity::Warning, 1) => "warning",
                (Severity::Warning, _) => "warnings",
                (Severity::Note, 1) => "note",
                (Severity::Note, _) => "notes",
            };
            Some(paint(style(severity), format!("{count} {word}")))
        })
        .collect();
    let found = if report.checked.is_empty() {
        paint(accent::WARN, "nothing could be checked")
    } else if counts.is_empty() {
        paint(accent::GOOD, "nothing wrong was found")
    } else {
        counts.join(", ")
    };
    let not = not_checked_at_all(report).len();
    let mut text = format!("{found}; {} rules checked", report.checked.len());
    if not > 0 {
        text += &format!(", {not} not checked");
    }
    if !report.findings.is_empty() {
        text += ". `manada doctor explain ID` says more.";
    }
    paragraph("", &text)
}

/// All rules, one a line.
pub(super) fn list() -> String {
    let mut text = String::new();
    for rule in RULES {
        let severity = paint(style(rule.severity), format!("{:8}", rule.severity));
        let label = format!("{}  {severity}  ", rule.id);
        text += &paragraph(&label, rule.title);
    }
    text
}

/// A rule's page.
pub(super) fn explain(rule: &Rule) -> String {
    let title = paint(accent::STRONG, format!("{}: {}", rule.id, rule.title));
    let mut text = paragraph("", &title);
    text += &paragraph(
        "",
        &format!(
            "{} · {}",
            rule.slug,
            paint(style(rule.severity), rule.severity)
        ),
    );
    let mut section = |heading: &str, body: &str| {
        text += &format!("\n{}\n", paint(accent::STRONG, heading));
        text += &paragraph("  ", body);
    };
    section("Why it hurts", rule.consequence);
    section("What to do", rule.remedy);
    section("Its limits", rule.limits);
    text += &format!("\n{}\n", paint(accent::STRONG, "What it reads"));
    for source in rule.reads {
        let line = format!("{}: {}", source.name(), source.right());
        text += &paragraph("  ", &line);
    }
    text += &format!("\n{}\n", paint(accent::STRONG, "Sources"));
    for source in rule.sources {
        text += &paragraph("  ", source);
    }
    text
}
