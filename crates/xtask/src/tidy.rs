//! `cargo xtask tidy`: the project's own rules, each in a file of its own.

mod dependencies;
mod documents;
mod edges;
mod files;
mod sources;

use std::fmt;
use std::process::ExitCode;

use files::Files;

/// Checks everything and prints what is against a rule.
#[allow(clippy::print_stdout, reason = "it is a command")]
pub(crate) fn run() -> ExitCode {
    let files = match Files::read(&crate::repository()) {
        Ok(files) => files,
        Err(error) => {
            println!("tidy can't read the repository: {error}");
            return ExitCode::FAILURE;
        }
    };
    let rules = [
        edges::check,
        sources::check,
        dependencies::check,
        documents::check,
    ];
    let findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(&files)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing against the rules", files.count());
        ExitCode::SUCCESS
    } else {
        println!("tidy: {} against the rules", findings.len());
        ExitCode::FAILURE
    }
}

/// Something against a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// From the repository's root.
    path: String,
    /// Counted from 1; `None` speaks of the whole file.
    line: Option<usize>,
    /// The rule, and what to do.
    what: String,
}

impl Finding {
    fn in_line(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: path.to_owned(),
            line: Some(line),
            what: what.into(),
        }
    }

    fn in_file(path: &str, what: impl Into<String>) -> Finding {
        Finding {
            path: path.to_owned(),
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}
