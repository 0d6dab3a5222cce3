//! `cargo xtask docs`: the documents that are made from the code, and whether they are its word.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where the commands' pages are, from the repository's root.
const COMMANDS: &str = "docs/commands";

/// Where the pages of doctor's rules are.
const RULES: &str = "docs/doctor";

/// The page of the states and rules of a node's core.
const STATES: &str = "docs/design/protection-states.md";

/// The page of the guards, and of what breaks without each.
const GUARDS: &str = "docs/design/guards.md";

/// Files of one directory, by name.
type Pages = BTreeMap<String, String>;

/// What is to be done.
#[derive(Debug, clap::Args)]
pub(crate) struct Docs {
    /// Write nothing; fail where a document is not what the code says.
    #[arg(long)]
    check: bool,
    /// The `manada` that writes its commands' pages [default: built from here].
    #[arg(long, value_name = "PROGRAM")]
    manada: Option<PathBuf>,
}

/// Writes the documents, or says which ones differ and writes none.
#[allow(clippy::print_stdout, reason = "it is a command")]
pub(crate) fn run(docs: &Docs) -> ExitCode {
    let check = docs.check;
    match differences(docs) {
        Ok(differing) if differing.is_empty() => {
            println!("docs: as the code says");
            ExitCode::SUCCESS
        }
        Ok(differing) => {
            for path in &differing {
                let state = if check {
                    "not as the code says"
                } else {
                    "written"
                };
                println!("{}: {state}", path.display());
            }
            if check {
                println!("docs: run `cargo xtask docs`");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("docs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The files that are not as the code says; unless they are only checked, they are so afterwards.
fn differences(docs: &Docs) -> io::Result<Vec<PathBuf>> {
    let check = docs.check;
    let root = crate::repository();
    let mut differing = Vec::new();
    let commands = commands(&root, docs.manada.as_deref())?;
    for (directory, wanted) in [(COMMANDS, commands), (RULES, rules())] {
        let directory = root.join(directory);
        let found = read(&directory)?;
        for name in outdated(&wanted, &found) {
            let path = directory.join(name);
            if !check {
                fs::create_dir_all(&directory)?;
                match wanted.get(name) {
                    Some(text) => fs::write(&path, text)?,
                    None => fs::remove_file(&path)?,
                }
            }
            differing.push(path.strip_prefix(&root).unwrap_or(&path).to_owned());
        }
    }
    let pages = [
        (STATES, manada_core::states::page()),
        (GUARDS, manada_sim::simulation::Trial::page()),
    ];
    for (name, page) in pages {
        let path = root.join(name);
        if fs::read_to_string(&path).ok().as_ref() != Some(&page) {
            if !check {
                fs::write(&path, page)?;
            }
            differing.push(PathBuf::from(name));
        }
    }
    Ok(differing)
}

/// Names whose page is missing, differs, or is of something that is no more.
fn outdated<'a>(wanted: &'a Pages, found: &'a Pages) -> Vec<&'a str> {
    let changed = wanted
        .iter()
        .filter(|(name, text)| found.get(*name) != Some(text));
    let gone = found.iter().filter(|(name, _)| !wanted.contains_key(*name));
    changed.chain(gone).map(|(name, _)| name.as_str()).collect()
}

/// The commands' pages, as the program itself writes them: its definitions are its own.
fn commands(root: &Path, manada: Option<&Path>) -> io::Result<Pages> {
    let pages = tempfile::tempdir()?;
    let mut program = match manada {
        Some(program) => Command::new(root.join(program)),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--package", "manada", "--"]);
            cargo
        }
    };
    let written = program
        .args(["man", "--markdown"])
        .arg(pages.path())
        .current_dir(root)
        .status()?;
    if !written.success() {
        return Err(io::Error::other("`manada man --markdown` failed"));
    }
    read(pages.path())
}

/// A page for each of doctor's rules, and their list.
fn rules() -> Pages {
    let page = |rule: &&manada_doctor::Rule| (format!("{}.md", rule.id), manada_doctor::page(rule));
    let list = ("README.md".to_owned(), manada_doctor::index());
    manada_doctor::RULES
        .iter()
        .map(page)
        .chain([list])
        .collect()
}

/// The Markdown files of a directory; none where there is no such directory.
fn read(directory: &Path) -> io::Result<Pages> {
    let mut pages = Pages::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(pages),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(pages: &[(&str, &str)]) -> Pages {
        pages
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_page_that_differs_is_missing_or_is_left_over_is_outdated() {
        let wanted = pages(&[("a.md", "a"), ("b.md", "b"), ("c.md", "c")]);
        let found = pages(&[("a.md", "a"), ("b.md", "old"), ("d.md", "d")]);
        assert_eq!(outdated(&wanted, &found), ["b.md", "c.md", "d.md"]);
        assert!(outdated(&wanted, &wanted).is_empty());
    }
}
