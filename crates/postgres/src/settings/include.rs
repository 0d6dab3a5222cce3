//! The one line that Manada adds to `postgresql.conf`.

/// The line. The file is looked for beside the one that includes it, and its absence is no error:
/// take Manada away, and the server still starts.
pub const INCLUDE_LINE: &str = "include_if_exists = 'manada.conf'";

/// `postgresql.conf` with the include as its last effective line, so that what it includes wins;
/// `None` where it is that already.
pub fn with_include(text: &str) -> Option<String> {
    let effective = |line: &&str| !matches!(line.trim().bytes().next(), None | Some(b'#'));
    if text.lines().rfind(effective).map(str::trim) == Some(INCLUDE_LINE) {
        return None;
    }
    let mut kept: String = text
        .split_inclusive('\n')
        .filter(|line| line.trim() != INCLUDE_LINE)
        .collect();
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    kept.push_str(INCLUDE_LINE);
    kept.push('\n');
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_include_goes_last_and_once() {
        let once = with_include("port = 5432").expect("added");
        assert_eq!(once, format!("port = 5432\n{INCLUDE_LINE}\n"));
        assert_eq!(with_include(&once), None);
        assert_eq!(with_include(&format!("{once}\n# the end\n\n")), None);
        assert_eq!(
            with_include(&format!("{once}port = 1\n")),
            Some(format!("port = 5432\nport = 1\n{INCLUDE_LINE}\n"))
        );
    }
}
