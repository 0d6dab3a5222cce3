//! A slot has lost the WAL it was to keep

use crate::facts::{Herd, Server, Source, WalStatus};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(12),
    slug: "slot-lost",
    title: "A slot has lost the WAL it was to keep",
    severity: Severity::Critical,
    reads: &[Source::Slots, Source::Settings],
    consequence: "The standby that uses this slot can never catch up by streaming: the WAL it needs is \
        gone from the primary. It still answers queries, with older and older data, and cannot \
        take over without losing everything since.",
    remedy: "If there is an archive with the missing WAL, a restore_command on the standby bridges \
        the gap. Else clone the standby again. Then drop the slot and let it be made anew.",
    limits: "A slot whose WAL is about to be removed (unreserved) is found as well, as a warning: \
        if the standby comes back before the next checkpoint, nothing is lost.",
    sources: &["PostgreSQL manual, \"pg_replication_slots\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let slots = server.slots.get()?;
    let found = slots.iter().filter_map(|slot| {
        let (severity, headline) = match slot.wal_status? {
            WalStatus::Reserved | WalStatus::Extended => return None,
            WalStatus::Unreserved => (
                Severity::Warning,
                format!(
                    "the WAL of slot {} on {} is about to be removed",
                    slot.name, server.name
                ),
            ),
            WalStatus::Lost => (
                Severity::Critical,
                format!("the WAL of slot {} on {} is gone", slot.name, server.name),
            ),
        };
        let finding = RULE
            .on(server, headline)
            .at(severity)
            .saw("wal_status", slot.wal_status.map(WalStatus::as_str))
            .saw("active", slot.active)
            .saw("invalidation_reason", slot.invalidation_reason.clone());
        Some(match slot.wal_status? {
            WalStatus::Lost => {
                finding
                    .fix([remedy::drop_slot(server, &slot.name)])
                    .advice(format!(
                        "clone the standby that used {} again (`manada join`)",
                        slot.name
                    ))
            }
            WalStatus::Unreserved | WalStatus::Reserved | WalStatus::Extended => finding
                .advice("start the standby now; and for the next time give slots more room:")
                .fix(remedy::set(server, "max_slot_wal_keep_size", "10GB")),
        })
    });
    Ok(found.collect())
}
