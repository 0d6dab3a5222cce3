//! An old primary can only come back as a full clone

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(27),
    slug: "no-rewind",
    title: "An old primary can only come back as a full clone",
    severity: Severity::Warning,
    reads: &[Source::Settings],
    consequence: "After a failover the old primary has WAL that the new one has not. pg_rewind could put \
        it right in seconds, but it needs data checksums or wal_log_hints to know every page \
        that changed. Without either, every failover costs a full copy of the database.",
    remedy: "Turn wal_log_hints on (at a restart), or data checksums (pg_checksums, with the server \
        stopped). It must have been on before the failover.",
    limits: "Silent on a server that is alone.",
    sources: &["PostgreSQL manual, \"pg_rewind\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let checksums = server.settings.flag("data_checksums")?;
    let hints = server.settings.flag("wal_log_hints")?;
    let alone = herd.servers.len() == 1 && server.walsenders.get()?.is_empty();
    if checksums || hints || alone {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("{} could not be rewound after a failover", server.name),
        )
        .saw("data_checksums", checksums)
        .saw("wal_log_hints", hints)
        .fix(remedy::set(server, "wal_log_hints", "on"));
    Ok(vec![finding])
}
