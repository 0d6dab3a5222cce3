//! A slot may keep WAL until the disk is full

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(11),
    slug: "slots-unbounded",
    title: "A slot may keep WAL until the disk is full",
    severity: Severity::Warning,
    reads: &[Source::Slots, Source::Settings],
    consequence: "A standby that is off keeps its slot, and its slot keeps all WAL since. Without a \
        bound pg_wal grows until the disk is full; then the primary stops with a PANIC, and \
        cannot start before there is room.",
    remedy: "Set max_slot_wal_keep_size to what the disk can spare. A standby that is behind by \
        more has to be cloned again, and the primary stays up.",
    limits: "Silent where there is no slot. Temporary slots do not count.",
    sources: &["PostgreSQL manual, \"max_slot_wal_keep_size\""],
    check: Check::EachServer(check),
};

fn check(server: &Server, _: &Herd) -> Verdict {
    let slots = server.slots.get()?;
    let lasting: Vec<String> = slots
        .iter()
        .filter(|slot| !slot.temporary)
        .map(|slot| slot.name.clone())
        .collect();
    let bound = server.settings.bytes("max_slot_wal_keep_size")?;
    if bound.is_some() || lasting.is_empty() {
        return Ok(Vec::new());
    }
    let headline = format!("slots on {} may keep WAL without limit", server.name);
    let finding = RULE
        .on(server, headline)
        .saw("max_slot_wal_keep_size", "-1")
        .saw("slots", lasting)
        .advice("choose less than what is free on the disk of pg_wal, for instance:")
        .fix(remedy::set(server, "max_slot_wal_keep_size", "10GB"));
    Ok(vec![finding])
}
