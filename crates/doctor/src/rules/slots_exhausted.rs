//! There is no room for another slot

use crate::facts::{Herd, Server, Source};
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(16),
    slug: "slots-exhausted",
    title: "There is no room for another slot",
    severity: Severity::Warning,
    reads: &[Source::Slots, Source::Settings],
    consequence: "The next standby cannot be made, and a failover cannot give the remaining standbys \
        slots on the new primary: \"all replication slots are in use\". More room takes a \
        restart, which is then an outage.",
    remedy: "Raise max_replication_slots at the next restart, or drop slots that nobody needs.",
    limits: "Two free places are thought enough.",
    sources: &["PostgreSQL manual, \"max_replication_slots\""],
    check: Check::Primary(check),
};

/// Room for a new standby and, at the same time, for the one that clones it.
const FREE_MIN: u64 = 1;

fn check(server: &Server, _: &Herd) -> Verdict {
    let used = server.slots.get()?.len() as u64;
    let all = server
        .settings
        .number("max_replication_slots")?
        .unsigned_abs();
    if used == 0 || all.saturating_sub(used) >= FREE_MIN {
        return Ok(Vec::new());
    }
    let finding = RULE
        .on(
            server,
            format!(
                "{used} of {all} replication slots on {} are taken",
                server.name
            ),
        )
        .saw("max_replication_slots", all)
        .saw("slots", used)
        .fix(remedy::set(
            server,
            "max_replication_slots",
            &(all + 10).to_string(),
        ));
    Ok(vec![finding])
}
