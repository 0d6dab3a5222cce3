//! The repository's text files.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The text files that git knows or would add, each with its path from the root.
pub(super) struct Files {
    files: Vec<(String, String)>,
}

impl Files {
    /// Reads them.
    pub(super) fn read(root: &Path) -> io::Result<Files> {
        let mut git = Command::new("git");
        git.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let listed = git.current_dir(root).output()?;
        if !listed.status.success() {
            let said = String::from_utf8_lossy(&listed.stderr).into_owned();
            return Err(io::Error::other(said));
        }
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut files = Vec::new();
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            match fs::read(root.join(name)) {
                // Pictures are no text.
                Ok(bytes) => {
                    files.extend(String::from_utf8(bytes).map(|text| (name.to_owned(), text)))
                }
                // Deleted, and the deletion not yet committed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Files { files })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// All, as path and text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.iter()
            .find_map(|(name, text)| (name == path).then_some(text))
    }

    /// Whether there is such a file or directory.
    pub(super) fn has(&self, path: &str) -> bool {
        let directory = format!("{path}/");
        path.is_empty()
            || self
                .files
                .iter()
                .any(|(name, _)| name == path || name.starts_with(&directory))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Files {
        let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Files {
            files: files.iter().map(owned).collect(),
        }
    }
}
