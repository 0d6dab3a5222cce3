//! Rules for what people read: it speaks of the product, in its words, and its links lead
//! somewhere.

use super::Finding;
use super::files::Files;

/// Where these words are written down, they are not used.
const THIS_FILE: &str = "crates/xtask/src/tidy/documents.rs";

/// What is not said, and why.
const UNSAID: &[(&str, &str)] = &[
    ("FIXME", "do it, or leave it out"),
    ("TODO", "do it, or leave it out"),
    ("XXX", "do it, or leave it out"),
    ("master server", "PostgreSQL says primary"),
    ("slave", "PostgreSQL says standby"),
    ("/work/", "a path of one machine"),
];

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let read_by_people = |path: &str| {
        let kinds = [".md", ".rs", ".toml", ".sh", ".sql", ".ci/run"];
        path != THIS_FILE && kinds.iter().any(|kind| path.ends_with(kind))
    };
    let texts = files.iter().filter(|(path, _)| read_by_people(path));
    texts
        .flat_map(|(path, text)| {
            let mut findings = unsaid(path, text);
            if path.ends_with(".md") {
                findings.extend(dead_links(files, path, text));
            }
            findings
        })
        .collect()
}

fn unsaid(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, why) in UNSAID.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::in_line(path, number, format!("{word:?}: {why}")));
        }
        if names_an_issue(line) {
            let what = "an issue's number says nothing to a reader: say what it is";
            findings.push(Finding::in_line(path, number, what));
        }
    }
    findings
}

/// `issue 12`, `issue #12`, `(#12)`.
fn names_an_issue(line: &str) -> bool {
    let line = line.to_lowercase();
    ["issue #", "issue ", "(#"].iter().any(|before| {
        line.match_indices(before)
            .any(|(at, _)| line[at + before.len()..].starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Links to files of this repository that are not there.
fn dead_links(files: &Files, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let links = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links {
            let file = link.split('#').next().unwrap_or(link);
            let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !files.has(&resolved(path, file)) {
                let what = format!("the link leads nowhere: {link}");
                findings.push(Finding::in_line(path, number, what));
            }
        }
    }
    findings
}

/// `link` as written in the document `from`, as a path from the root.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Option<usize>> {
        let findings = check(&Files::of(files));
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_issues_number_and_a_word_for_later_are_found() {
        let text = "Fine.\nAs issue 2 says.\nSee (#12).\nTODO: more.\nAn issue of trust.\n";
        assert_eq!(found(&[("docs/a.md", text)]), [Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](b.md) [b](../README.md#top) [c](c.md)\n[d](https://example.org)\n";
        let files = [("docs/a.md", text), ("docs/b.md", ""), ("README.md", "")];
        assert_eq!(found(&files), [Some(1)]);
    }
}
