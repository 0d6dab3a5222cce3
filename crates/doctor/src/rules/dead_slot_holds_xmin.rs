//! A slot that nobody uses keeps dead rows from vacuum

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(18),
    slug: "dead-slot-holds-xmin",
    title: "A slot that nobody uses keeps dead rows from vacuum",
    severity: Severity::Warning,
    reads: &[Source::Slots],
    consequence: "A standby with hot_standby_feedback, or a logical decoder, left its oldest transaction \
        in its slot. Vacuum removes nothing newer, in any table, until the slot is used again \
        or dropped: tables and indexes grow, queries slow down, and in the end transaction ids \
        run out.",
    remedy: "Start the owner of the slot, or drop it.",
    limits: "Active slots with an old xmin are left to their owners.",
    sources: &[
        "PostgreSQL manual, \"hot_standby_feedback\"",
        "PostgreSQL manual, \"pg_replication_slots\"",
    ],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let slots = server.slots.get()?;
    let idle = slots.iter().filter(|slot| !slot.active && !slot.synced);
    let found = idle.filter_map(|slot| {
        let age = slot.xmin_age?;
        Some(
            RULE.on(
                server,
                format!("slot {} holds back vacuum on {}", slot.name, server.name),
            )
            .saw("active", slot.active)
            .saw("age of xmin, in transactions", age)
            .advice("start the owner of the slot; or, if there is none any more:")
            .fix([remedy::drop_slot(server, &slot.name)]),
        )
    });
    Ok(found.collect())
}
