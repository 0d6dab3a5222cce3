//! Password files in the format of `.pgpass`.
//!
//! Source: PostgreSQL manual, "The Password File".

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Endpoint, Host};
use crate::Secret;

/// The password of the first line that matches; `None` also where the file is readable by others,
/// which libpq ignores as well.
pub(super) fn lookup(
    file: &Path,
    endpoint: &Endpoint,
    database: &str,
    user: &str,
) -> Option<Secret> {
    let metadata = std::fs::metadata(file).ok()?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        return None;
    }
    let host = match &endpoint.host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(_) => "localhost".to_owned(),
    };
    let wanted = [host.as_str(), &endpoint.port.to_string(), database, user];
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| matching(line, &wanted))
}

fn matching(line: &str, wanted: &[&str; 4]) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let fields = split(line);
    let (password, keys) = fields.split_last()?;
    let matches = keys.len() == wanted.len()
        && keys
            .iter()
            .zip(wanted)
            .all(|(key, wanted)| key == "*" || key == wanted);
    matches.then(|| Secret::new(password.as_str()))
}

/// Splits at the first four colons; a backslash protects the character behind it.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '\\' => fields[last].extend(chars.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("set");
        file
    }

    #[test]
    fn the_first_matching_line_wins() {
        let file = file("# c\nh:1:*:u:no\nh:5432:*:u:pa\\:ss\n*:*:*:*:late\n", 0o600);
        let found = lookup(file.path(), &Endpoint::tcp("h", 5432), "d", "u");
        assert_eq!(found, Some(Secret::new("pa:ss")));
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        let file = file("*:*:*:*:x\n", 0o644);
        assert_eq!(lookup(file.path(), &Endpoint::tcp("h", 1), "d", "u"), None);
    }
}
