//! The disk of pg_wal is nearly full

use crate::facts::{Herd, Server, Source};
use crate::finding::Value;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(29),
    slug: "wal-disk-nearly-full",
    title: "The disk of pg_wal is nearly full",
    severity: Severity::Critical,
    reads: &[Source::WalDisk, Source::RestrictedSettings],
    consequence: "When it is full the server stops with a PANIC in the middle of its work, and does not \
        start again before there is room. Standbys with the same disk stop at about the same \
        time.",
    remedy: "Make room on the disk, or enlarge it. Never delete in pg_wal by hand. See what keeps \
        WAL: inactive slots, failing archiving, wal_keep_size.",
    limits: "SQL cannot tell what is free on a disk. Only a server on the host where doctor runs \
        can be looked at, and only as a user who may enter its data directory.",
    sources: &["PostgreSQL manual, \"Disk Full Failure\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let disk = server.wal_disk.get()?;
    let least = u64::from(herd.limits.wal_disk_free_percent_min);
    if u128::from(disk.free_bytes) * 100 >= u128::from(disk.total_bytes) * u128::from(least) {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!("the disk of pg_wal on {} is nearly full", server.name),
        )
        .saw("free", Value::Bytes(disk.free_bytes))
        .saw("size", Value::Bytes(disk.total_bytes))
        .advice("see what keeps WAL, the slots first:")
        .sql(
            server,
            "SELECT slot_name, active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), \
             restart_lsn)) FROM pg_replication_slots ORDER BY restart_lsn;",
        )
        .sql(server, "SELECT * FROM pg_stat_archiver;");
    Ok(vec![finding])
}
