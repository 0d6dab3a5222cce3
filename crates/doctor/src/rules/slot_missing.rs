//! A standby asks for a slot that its primary has not

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(15),
    slug: "slot-missing",
    title: "A standby asks for a slot that its primary has not",
    severity: Severity::Critical,
    reads: &[Source::Settings, Source::Slots],
    consequence: "The standby cannot stream at all: its walreceiver ends with \"replication slot does not \
        exist\" every few seconds. This is usual after a failover, because physical slots stay \
        behind on the old primary.",
    remedy: "Make the slot on the primary; the standby goes on by itself if the WAL it needs is \
        still there.",
    limits: "A standby that follows another standby is left out where that one is among the servers \
        asked.",
    sources: &["PostgreSQL manual, \"primary_slot_name\""],
    check: Check::EachStandby(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let primary = herd.primary()?;
    let wanted = server.settings.text("primary_slot_name")?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    for upstream in &herd.servers {
        let slots = upstream.slots.get()?;
        if upstream.name != server.name && slots.iter().any(|slot| slot.name == wanted) {
            return Ok(Vec::new());
        }
    }
    let slots = primary.slots.get()?.iter().map(|slot| slot.name.clone());
    let finding = RULE
        .on(
            server,
            format!("{} asks {} for slot {wanted}", server.name, primary.name),
        )
        .saw("primary_slot_name", wanted)
        .saw("slots there", slots.collect::<Vec<_>>())
        .fix([remedy::create_slot(primary, wanted)]);
    Ok(vec![finding])
}
