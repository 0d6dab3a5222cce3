//! Archiving fails

use crate::facts::{Herd, Server, Source, Unknown};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(20),
    slug: "archive-failing",
    title: "Archiving fails",
    severity: Severity::Critical,
    reads: &[Source::Archiver, Source::Settings],
    consequence: "PostgreSQL keeps every segment until it is archived, so pg_wal grows until the disk is \
        full and the server stops. Until then no new restore point exists: a restore ends at \
        the last archived segment.",
    remedy: "Read the server's log for what the command says, and put that right; PostgreSQL tries \
        again by itself.",
    limits: "A failure that a success has followed is not found.",
    sources: &["PostgreSQL manual, \"pg_stat_archiver\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let archiver = server.archiver.get()?;
    if !archives(server)? {
        return Ok(Vec::new());
    }
    // How long ago: the smaller is the later.
    let failing = match (archiver.last_failed, archiver.last_archived) {
        (Some(failed), Some(archived)) => failed < archived,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if !failing {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("the last attempt of {} to archive WAL failed", server.name),
        )
        .saw(
            "archive_command",
            remedy::without_secrets(server.settings.text("archive_command")?),
        )
        .saw("last_failed_wal", archiver.last_failed_wal.clone())
        .saw("last failure, ago", archiver.last_failed)
        .saw("last success, ago", archiver.last_archived)
        .saw("failed_count", archiver.failed_count)
        .advice("see what the command says, in the server's log:")
        .sql(server, "SELECT pg_current_logfile();");
    Ok(vec![finding])
}

/// With `on` a standby archives nothing; with `always` it does.
fn archives(server: &Server) -> Result<bool, Unknown> {
    Ok(match server.settings.text("archive_mode")? {
        "off" => false,
        "on" => !server.in_recovery(),
        _ => true,
    })
}
