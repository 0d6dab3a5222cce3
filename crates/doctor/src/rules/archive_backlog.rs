//! The archive does not keep up

use crate::facts::{Herd, Server, Source};
use crate::finding::Value;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(23),
    slug: "archive-backlog",
    title: "The archive does not keep up",
    severity: Severity::Warning,
    reads: &[Source::ArchiveQueue, Source::Settings],
    consequence: "So much WAL would be missing from a restore if the server's disk were lost now; and \
        all of it stays in pg_wal, which grows.",
    remedy: "Find out why the archive is slow: the network, its disk, compression. pgBackRest and \
        WAL-G can archive several segments at a time.",
    limits: "Up to 32 segments are taken for a passing burst.",
    sources: &["PostgreSQL manual, \"Continuous Archiving and Point-in-Time Recovery\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let queue = server.archive_queue.get()?;
    let mode = server.settings.text("archive_mode")?;
    if mode == "off" || queue.segments <= herd.limits.archive_queue_segments_max {
        return Ok(Vec::new());
    }
    let segment = server.settings.bytes("wal_segment_size")?.unwrap_or(0);
    let finding = RULE
        .on(
            server,
            format!(
                "{} WAL segments of {} wait to be archived",
                queue.segments, server.name
            ),
        )
        .saw("segments waiting", queue.segments)
        .saw(
            "their size",
            Value::Bytes(queue.segments.saturating_mul(segment)),
        )
        .saw("the oldest has waited", queue.oldest)
        .advice("see whether archiving fails or is slow:")
        .sql(server, "SELECT * FROM pg_stat_archiver;");
    Ok(vec![finding])
}
