//! Nobody streams from a slot, and it keeps WAL

use crate::facts::{Herd, Server, Slot, Source, WalStatus};
use crate::finding::Value;
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(13),
    slug: "slot-inactive",
    title: "Nobody streams from a slot, and it keeps WAL",
    severity: Severity::Warning,
    reads: &[Source::Slots],
    consequence: "pg_wal grows by all that is written until the slot's owner is back or the slot is \
        dropped. Of a standby that was taken away the slot stays, and is found when the disk \
        is full.",
    remedy: "Start the standby, or drop the slot if the standby is gone for good (`manada remove` \
        does both).",
    limits: "A slot that was made and never used keeps nothing, and is not found. On standbys, \
        slots kept in step with the primary's (17 and later) are inactive by design.",
    sources: &["PostgreSQL manual, \"Replication Slots\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let slots = server.slots.get()?;
    let idle =
        |slot: &&Slot| !slot.active && !slot.synced && slot.wal_status != Some(WalStatus::Lost);
    let found = slots.iter().filter(idle).filter_map(|slot| {
        let retained = slot.retained_bytes?;
        let severity = if retained > herd.limits.slot_retained_bytes_max {
            Severity::Critical
        } else {
            Severity::Warning
        };
        Some(
            RULE.on(
                server,
                format!("nobody uses slot {} on {}", slot.name, server.name),
            )
            .at(severity)
            .saw("retained", Value::Bytes(retained))
            .saw("inactive for", slot.inactive_for)
            .advice("start the standby it belongs to; or, if there is none any more:")
            .fix([remedy::drop_slot(server, &slot.name)]),
        )
    });
    Ok(found.collect())
}
