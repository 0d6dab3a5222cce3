//! A rule's page, from the same texts that the command prints.

use std::fmt::Write as _;

use crate::registry::RULES;
use crate::rule::{Check, Rule, Severity};

/// The page of one rule, in Markdown.
pub fn page(rule: &Rule) -> String {
    let mut page = format!("# {}: {}\n\n", rule.id, rule.title);
    let looks_at = match rule.check {
        Check::EachServer(_) => "every server",
        Check::Primary(_) => "the primary",
        Check::EachStandby(_) => "every standby",
        Check::Herd(_) => "the herd as a whole",
    };
    let _ = writeln!(page, "| | |\n| --- | --- |");
    let _ = writeln!(page, "| name | `{}` |", rule.slug);
    let _ = writeln!(page, "| severity | {} |", rule.severity);
    let _ = writeln!(page, "| looks at | {looks_at} |");
    page += "\n## Why it hurts\n\n";
    page += rule.consequence;
    page += "\n\n## What to do\n\n";
    page += rule.remedy;
    page += "\n\n`manada doctor` prints the commands with the names of your servers in them.\n";
    page += "\n## What it reads\n\n| source | who may read it |\n| --- | --- |\n";
    for source in rule.reads {
        let _ = writeln!(page, "| {} | {} |", source.name(), source.right());
    }
    page += "\nWithout that right the rule is reported as not checked.\n";
    page += "\n## Its limits\n\n";
    page += rule.limits;
    page += "\n\n## Sources\n\n";
    for source in rule.sources {
        let _ = writeln!(page, "- {source}");
    }
    page
}

/// The list of all pages, in Markdown.
pub fn index() -> String {
    let mut index = String::from(
        "# The rules of `manada doctor`\n\n\
         One page a rule, made from the rule itself: `manada doctor explain ID` prints the same.\n",
    );
    for severity in Severity::GRAVEST_FIRST {
        let heading = match severity {
            Severity::Critical => {
                "Critical: it hurts now, or the next mishap loses data or stops the service"
            }
            Severity::Warning => "Warning: it will hurt when something else happens",
            Severity::Note => "Note: worth knowing; it may be meant",
        };
        let _ = write!(
            index,
            "\n## {heading}\n\n| id | name | what is wrong |\n| --- | --- | --- |\n"
        );
        for rule in RULES.iter().filter(|rule| rule.severity == severity) {
            let _ = writeln!(
                index,
                "| [{id}]({id}.md) | `{}` | {} |",
                rule.slug,
                rule.title,
                id = rule.id
            );
        }
    }
    index
}
