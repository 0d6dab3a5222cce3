//! Which crate may use which: the picture in `ARCHITECTURE.md` is the rule.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use super::Finding;
use super::files::Files;

/// Where the picture is.
const DOCUMENT: &str = "ARCHITECTURE.md";
/// Opens the block that holds it, one crate a line: `wal -> model wire postgres`.
const BLOCK: &str = "```crates";
/// The crates that tests may use, and nothing else.
const DEV_ONLY: &str = "testbed";

/// Directories of `crates/` and what each may use.
type Picture = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let Some(picture) = files.text(DOCUMENT).and_then(picture) else {
        return vec![Finding::in_file(DOCUMENT, format!("has no block {BLOCK}"))];
    };
    let root = crate::repository();
    let metadata = MetadataCommand::new()
        .no_deps()
        .manifest_path(root.join("Cargo.toml"))
        .exec();
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return vec![Finding::in_file("Cargo.toml", error.to_string())],
    };
    let uses: Vec<Use> = metadata.packages.iter().flat_map(uses).collect();
    let crates: BTreeSet<String> = metadata.packages.iter().map(directory).collect();
    against(&picture, &crates, &uses)
}

/// One crate's use of another.
struct Use {
    by: String,
    of: String,
    in_tests_alone: bool,
}

fn uses(package: &Package) -> Vec<Use> {
    let own = package.dependencies.iter().filter_map(|dependency| {
        let path = dependency.path.as_ref()?;
        Some(Use {
            by: directory(package),
            of: path.file_name()?.to_owned(),
            in_tests_alone: dependency.kind == DependencyKind::Development,
        })
    });
    own.collect()
}

/// The name of the package's directory, by which the picture calls it.
fn directory(package: &Package) -> String {
    let directory = package.manifest_path.parent();
    directory
        .and_then(|directory| directory.file_name())
        .unwrap_or(package.name.as_str())
        .to_owned()
}

fn picture(document: &str) -> Option<Picture> {
    let (_, after) = document.split_once(&format!("{BLOCK}\n"))?;
    let (block, _) = after.split_once("```")?;
    let lines = block.lines().filter(|line| !line.trim().is_empty());
    let entry = |line: &str| {
        let (name, uses) = line.split_once("->").unwrap_or((line, ""));
        let uses = uses.split_whitespace().map(str::to_owned).collect();
        (name.trim().to_owned(), uses)
    };
    Some(lines.map(entry).collect())
}

fn against(picture: &Picture, crates: &BTreeSet<String>, uses: &[Use]) -> Vec<Finding> {
    let drawn: BTreeSet<String> = picture.keys().cloned().collect();
    let undrawn = crates.difference(&drawn).map(|name| {
        let what = format!("the crate {name} is not in the picture");
        Finding::in_file(DOCUMENT, what)
    });
    let absent = drawn.difference(crates).map(|name| {
        let what = format!("the picture shows a crate {name} that is not there");
        Finding::in_file(DOCUMENT, what)
    });
    let forbidden = uses.iter().filter_map(|used| {
        let drawn = picture
            .get(&used.by)
            .is_some_and(|may| may.contains(&used.of));
        let for_tests = used.in_tests_alone && used.of == DEV_ONLY;
        (!drawn && !for_tests).then(|| {
            let manifest = format!("crates/{}/Cargo.toml", used.by);
            let what = format!(
                "{} -> {} is not in the picture of {DOCUMENT}",
                used.by, used.of
            );
            Finding::in_file(&manifest, what)
        })
    });
    undrawn.chain(absent).chain(forbidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(by: &str, of: &str, in_tests_alone: bool) -> Use {
        Use {
            by: by.to_owned(),
            of: of.to_owned(),
            in_tests_alone,
        }
    }

    #[test]
    fn an_edge_that_is_not_drawn_is_found_and_a_drawn_one_is_not() {
        let text = "# Map\n```crates\nmodel\nwire -> model\ntestbed -> model\n```\n";
        let picture = picture(text).expect("a picture");
        let crates = picture.keys().cloned().collect();
        let found = |uses: &[Use]| against(&picture, &crates, uses).len();
        assert_eq!(found(&[used("wire", "model", false)]), 0);
        assert_eq!(found(&[used("model", "wire", false)]), 1);
        assert_eq!(found(&[used("model", "testbed", true)]), 0);
        assert_eq!(found(&[used("model", "testbed", false)]), 1);
    }

    #[test]
    fn the_picture_and_the_crates_are_the_same_set() {
        let picture = picture("```crates\nmodel\ngone -> model\n```").expect("a picture");
        let crates = ["model", "new"].map(str::to_owned).into();
        let found = against(&picture, &crates, &[]);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
