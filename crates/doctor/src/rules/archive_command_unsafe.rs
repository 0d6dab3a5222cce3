//! The archive command can lose or destroy WAL

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(21),
    slug: "archive-command-unsafe",
    title: "The archive command can lose or destroy WAL",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "cp overwrites what is there: after a failover the old primary's segment replaces the \
        new one's of the same name, and the archive cannot be restored. cp does not wait for \
        the disk either: after a crash the archive holds half a segment that PostgreSQL was \
        told is safe. A command that does not use %p and %f, or that always succeeds, archives \
        nothing, and is believed.",
    remedy: "Use an archiver that writes once, refuses differing content and waits for the disk: \
        `manada wal push`, pgBackRest, WAL-G or Barman.",
    limits: "It knows the usual mistakes by their look; it cannot tell what a script does.",
    sources: &["PostgreSQL manual, \"Setting Up WAL Archiving\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let command = server.settings.text("archive_command")?;
    if server.settings.text("archive_mode")? == "off" || command.is_empty() {
        return Ok(Vec::new());
    }
    let faults = faults_of(command);
    if faults.is_empty() {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!(
                "the archive command of {} {}",
                server.name,
                faults.join(", and ")
            ),
        )
        .saw("archive_command", remedy::without_secrets(command))
        .advice("for instance, with a directory that is not on this server's disk:")
        .fix(remedy::set(
            server,
            "archive_command",
            "manada wal push %p --archive /path/of/the/archive",
        ));
    Ok(vec![finding])
}

fn faults_of(command: &str) -> Vec<&'static str> {
    let words: Vec<&str> = command
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')'))
        .filter(|word| !word.is_empty())
        .collect();
    let first = words.first().copied().unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default();
    let copies = words
        .iter()
        .any(|word| matches!(word.rsplit('/').next(), Some("cp" | "mv")));
    let looks_first = command.contains("test ") || command.contains("[ ") || words.contains(&"-n");
    let mut faults = Vec::new();
    if let Some(wrong) = wrong_placeholder(command) {
        faults.push(wrong);
    }
    if matches!(program, "true" | ":" | "cd" | "exit" | "echo") {
        faults.push("succeeds without archiving anything");
    } else if !placeholder(command, 'p') {
        faults.push("does not say which file to archive (%p)");
    } else if copies && !looks_first {
        faults.push("overwrites what is in the archive");
    }
    if copies && !command.contains("sync") {
        faults.push("does not wait until the copy is on disk");
    }
    if command.trim_end().ends_with("|| true") {
        faults.push("hides its failures");
    }
    faults
}

/// Whether `%` and this letter stand in the command, as PostgreSQL reads it: `%%` is a `%`.
fn placeholder(command: &str, letter: char) -> bool {
    placeholders(command).any(|found| found == Some(letter))
}

fn wrong_placeholder(command: &str) -> Option<&'static str> {
    let known = |found: Option<char>| matches!(found, Some('p' | 'f' | '%'));
    let wrong = placeholders(command).any(|found| !known(found));
    wrong.then_some("uses % for what is neither %p nor %f")
}

/// What follows each `%`.
fn placeholders(command: &str) -> impl Iterator<Item = Option<char>> {
    let mut characters = command.chars();
    std::iter::from_fn(move || {
        characters.find(|c| *c == '%')?;
        Some(characters.next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mistakes_are_known_by_their_look() {
        let faulty = |command: &str| !faults_of(command).is_empty();
        for command in [
            "cp %p %/tmp/%f",
            "cp %p /archive/%f",
            "/bin/cp -i %p /archive/%f </dev/null",
            "/bin/true",
            "cd .",
            "rsync -a /archive host:",
            "pgbackrest archive-push %p || true",
            "test ! -f /archive/%f && cp %p /archive/%f",
        ] {
            assert!(faulty(command), "{command:?}");
        }
        for command in [
            "manada wal push %p --archive /archive",
            "pgbackrest --stanza=main archive-push %p",
            "wal-g wal-push \"%p\"",
            "test ! -f /a/%f && cp %p /a/%f.tmp && sync /a/%f.tmp && mv -n /a/%f.tmp /a/%f",
            "barman-wal-archive backup pg %p",
        ] {
            assert_eq!(faults_of(command), Vec::<&str>::new(), "{command:?}");
        }
    }
}
