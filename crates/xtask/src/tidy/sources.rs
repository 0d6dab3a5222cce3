//! Rules for source files: who prints, how long a file is, and that nothing is left for later.

use super::Finding;
use super::files::Files;

/// A longer file usually holds two things.
const LINES_MAX: usize = 600;

/// The crates that may print.
const PRINTING: &[&str] = &["crates/cli/", "crates/xtask/", "crates/testbed/"];

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let sources = files.iter().filter(|(path, _)| path.ends_with(".rs"));
    sources
        .flat_map(|(path, text)| {
            let mut findings = lines(path, text);
            findings.extend(length(path, text));
            findings.extend(purpose(path, text));
            findings
        })
        .collect()
}

fn lines(path: &str, text: &str) -> Vec<Finding> {
    // A test's stderr is its own.
    let may_print =
        PRINTING.iter().any(|place| path.starts_with(place)) || path.contains("/tests/");
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or(line);
        let mut rule = |call: &str, what: &str| {
            if calls(code, call) {
                findings.push(Finding::in_line(path, number, format!("{call}: {what}")));
            }
        };
        rule("todo!", "do it, or leave it out");
        rule("unimplemented!", "do it, or leave it out");
        rule("dbg!", "take it out");
        if !may_print {
            for call in ["println!", "eprintln!", "print!", "eprint!"] {
                rule(call, "only the command line prints; return it, or trace it");
            }
        }
    }
    findings
}

/// Whether the macro `call` is called, and not one whose name only ends like it.
fn calls(code: &str, call: &str) -> bool {
    let of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '`');
    code.match_indices(call).any(|(at, _)| {
        let called = code[at + call.len()..].starts_with(['(', '[', '{']);
        called && !code[..at].ends_with(of_a_name)
    })
}

fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let what = format!("{lines} lines: over {LINES_MAX}, a file usually holds two things. Part it");
    (lines > LINES_MAX).then(|| Finding::in_file(path, what))
}

fn purpose(path: &str, text: &str) -> Option<Finding> {
    let missing = !text.starts_with("//! ");
    missing.then(|| Finding::in_line(path, 1, "begins with `//! ` and what the file is for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<Option<usize>> {
        let findings = check(&Files::of(&[(path, text)]));
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_library_that_prints_is_found() {
        let text = "//! Text.\nfn f() {\n    println!(\"x\");\n}\n";
        assert_eq!(found("crates/wal/src/f.rs", text), [Some(3)]);
        assert_eq!(found("crates/cli/src/f.rs", text), []);
    }

    #[test]
    fn what_was_left_for_later_is_found_once() {
        let text = "//! Text.\nfn f() {\n    todo!()\n}\n// No println!() here.\n";
        assert_eq!(found("crates/cli/src/f.rs", text), [Some(3)]);
    }

    #[test]
    fn eprintln_is_not_taken_for_println() {
        let text = "//! Text.\nfn f() { eprintln!() }\n";
        assert_eq!(found("crates/wal/src/f.rs", text), [Some(2)]);
    }

    #[test]
    fn a_long_file_and_one_without_a_purpose_are_found() {
        let long = format!("//! Text.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(found("crates/wal/src/f.rs", &long), [None]);
        assert_eq!(found("crates/wal/src/f.rs", "fn f() {}\n"), [Some(1)]);
    }
}
