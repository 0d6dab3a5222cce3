//! Archiving is on and there is no command

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(22),
    slug: "archive-command-missing",
    title: "Archiving is on and there is no command",
    severity: Severity::Critical,
    reads: &[Source::Settings],
    consequence: "PostgreSQL keeps every WAL segment since, waiting for a command that is not there: \
        pg_wal grows until the disk is full, and the server stops. Nothing in the log says so \
        but one line an archiver cycle.",
    remedy: "Give it a command or, if no archive is wanted, turn archive_mode off (at a restart).",
    limits: "A library (archive_library, from 15 on) is as good as a command.",
    sources: &["PostgreSQL manual, \"archive_command\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let mode = server.settings.text("archive_mode")?;
    let command = server.settings.text("archive_command")?;
    let library = server.settings.text("archive_library")?;
    let idle = mode == "off" || (mode == "on" && server.in_recovery());
    if idle || !command.is_empty() || !library.is_empty() {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!(
                "{} keeps all WAL for an archiver that it has not",
                server.name
            ),
        )
        .saw("archive_mode", mode)
        .saw("archive_command", command)
        .saw("archive_library", library)
        .saw(
            "waiting to be archived",
            server.archive_queue.get().ok().map(|queue| queue.segments),
        )
        .fix(remedy::set(
            server,
            "archive_command",
            "manada wal push %p --archive /path/of/the/archive",
        ));
    Ok(vec![finding])
}
