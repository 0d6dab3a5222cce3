//! A failover loses a logical slot

use crate::facts::{Herd, Server, Slot, SlotKind, Source};
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};
use manada_model::MajorVersion;

pub(crate) static RULE: Rule = Rule {
    id: RuleId(19),
    slug: "logical-slot-lost-on-failover",
    title: "A failover loses a logical slot",
    severity: Severity::Warning,
    reads: &[Source::Slots, Source::Settings],
    consequence: "After a failover the new primary does not have the slot. The subscriber cannot go on \
        from where it was: changes between are lost to it, or it has to be filled anew.",
    remedy: "From 17 on: make the slot with failover = true (for a subscription, ALTER SUBSCRIPTION \
        … SET (failover = true)), and set sync_replication_slots and hot_standby_feedback on \
        the standbys. Before 17: plan to fill subscribers anew after a failover.",
    limits: "Silent where there is no standby to fail over to, and for temporary slots.",
    sources: &["PostgreSQL manual, \"Replication Slot Synchronization\""],
    check: Check::Primary(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let slots = server.slots.get()?;
    let has_standby = herd.standbys().next().is_some()
        || server
            .walsenders
            .get()?
            .iter()
            .any(|sender| sender.is_lasting());
    if !has_standby {
        return Ok(Vec::new());
    }
    // Failover slots came with 17.
    let major = server.identity.version.major();
    let keeps_in_step = major.is_ok_and(|major| major >= MajorVersion::V17);
    let unsafe_slot =
        |slot: &&Slot| slot.kind == SlotKind::Logical && !slot.temporary && !slot.failover;
    let found = slots.iter().filter(unsafe_slot).map(|slot| {
        let finding = RULE
            .on(
                server,
                format!("logical slot {} is on {} alone", slot.name, server.name),
            )
            .saw("slot_type", "logical")
            .saw("failover", slot.failover);
        if keeps_in_step {
            finding.advice(
                "on the subscriber: ALTER SUBSCRIPTION … DISABLE; ALTER SUBSCRIPTION … SET \
                 (failover = true); ALTER SUBSCRIPTION … ENABLE; and on each standby: \
                 ALTER SYSTEM SET sync_replication_slots = on",
            )
        } else {
            finding.advice(
                "this version has no remedy but an upgrade to 17: write down who has to be filled \
                 anew",
            )
        }
    });
    Ok(found.collect())
}
