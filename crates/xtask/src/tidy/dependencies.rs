//! Every dependency's reason stands above it, in the workspace's `Cargo.toml`, and its version
//! stands there alone.

use super::Finding;
use super::files::Files;

const MANIFEST: &str = "Cargo.toml";
const TABLE: &str = "[workspace.dependencies]";

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let workspace = files.text(MANIFEST).map(reasons).unwrap_or_default();
    let members = files.iter().filter(|(path, _)| {
        path.strip_prefix("crates/")
            .and_then(|path| path.strip_suffix("/Cargo.toml"))
            .is_some_and(|name| !name.contains('/'))
    });
    let versions = members.flat_map(|(path, text)| versions(path, text));
    workspace.into_iter().chain(versions).collect()
}

fn reasons(manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_table = false;
    let mut above = "";
    for (number, line) in (1..).zip(manifest.lines()) {
        if line.starts_with('[') {
            in_table = line == TABLE;
        } else if in_table
            && let Some((name, value)) = line.split_once(" = ")
            && !value.contains("path =")
            && !above.starts_with("# ")
        {
            let what = format!("{name} has no reason in a comment above it");
            findings.push(Finding::in_line(MANIFEST, number, what));
        }
        above = line;
    }
    findings
}

fn versions(path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_table = false;
    for (number, line) in (1..).zip(manifest.lines()) {
        if line.starts_with('[') {
            in_table = line.ends_with("dependencies]");
        } else if in_table
            && let Some((name, value)) = line.split_once(" = ")
            && !name.ends_with(".workspace")
            && !value.contains("workspace = true")
        {
            let what = format!("{name}: its version and reason belong in the workspace's manifest");
            findings.push(Finding::in_line(path, number, what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[workspace.dependencies]\nown = { path = \"crates/own\" }\n\
                        # Because.\none = \"1\"\nother = \"1\"\n[profile.dev]\ndebug = true\n";
        let found = check(&Files::of(&[(MANIFEST, manifest)]));
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [Some(5)]);
    }

    #[test]
    fn a_version_beside_the_workspaces_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\none.workspace = true\n\
                        other = \"1\"\nthird = { workspace = true, features = [\"x\"] }\n";
        let found = check(&Files::of(&[("crates/x/Cargo.toml", manifest)]));
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [Some(5)]);
    }
}
