//! A standby has no slot, and the primary keeps no WAL for it

use crate::commits;
use crate::facts::{Herd, Server, Source, WalSender};
use crate::finding::Value;
use crate::remedy;
use crate::rule::{Check, Rule, RuleId, Severity, Verdict};

pub(crate) static RULE: Rule = Rule {
    id: RuleId(14),
    slug: "standby-without-slot",
    title: "A standby has no slot, and the primary keeps no WAL for it",
    severity: Severity::Warning,
    reads: &[Source::WalSenders, Source::Slots, Source::Settings],
    consequence: "With wal_keep_size = 0 the primary removes WAL at the next checkpoint. A standby that \
        is off for longer than that finds its WAL gone (\"requested WAL segment has already \
        been removed\") and has to be cloned again.",
    remedy: "Give the standby a slot, and bound what slots may keep.",
    limits: "Silent where the standby has an archive to fall back on (restore_command), as far as \
        its settings could be read, and where wal_keep_size is above 0. Receivers in their \
        base backup do not count.",
    sources: &[
        "PostgreSQL manual, \"Replication Slots\"",
        "PostgreSQL manual, \"wal_keep_size\"",
    ],
    check: Check::EachServer(check),
};

fn check(server: &Server, herd: &Herd) -> Verdict {
    let senders = server.walsenders.get()?;
    let slots = server.slots.get()?;
    let taken = |name: &str| slots.iter().any(|slot| slot.name == name);
    let kept = server.settings.bytes("wal_keep_size")?;
    if kept != Some(0) {
        return Ok(Vec::new());
    }
    let bare = senders
        .iter()
        .filter(|sender| sender.is_lasting() && sender.slot.is_none());
    let found = bare
        .filter(|sender| !has_archive(sender, herd))
        .map(|sender| {
            let name = &sender.application_name;
            let slot = slot_name(name);
            let finding = RULE
                .on(
                    server,
                    format!("{name} streams from {} without a slot", server.name),
                )
                .saw("application_name", name.as_str())
                .saw("slot_name", sender.slot.clone())
                .saw("wal_keep_size", Value::Bytes(0))
                .fix((!taken(&slot)).then(|| remedy::create_slot(server, &slot)));
            match standby(sender, herd) {
                Some(standby) => finding.fix(remedy::set(standby, "primary_slot_name", &slot)),
                None => finding.advice(format!(
                    "on the standby: ALTER SYSTEM SET primary_slot_name = '{slot}', then reload"
                )),
            }
        });
    Ok(found.collect())
}

fn standby<'a>(sender: &WalSender, herd: &'a Herd) -> Option<&'a Server> {
    herd.standbys().find(|standby| {
        commits::application_name(standby).is_ok_and(|name| name == sender.application_name)
    })
}

fn has_archive(sender: &WalSender, herd: &Herd) -> bool {
    standby(sender, herd).is_some_and(|standby| {
        standby
            .settings
            .text("restore_command")
            .is_ok_and(|command| !command.is_empty())
    })
}

/// A slot's name made from an `application_name`, which may hold what a slot's may not.
fn slot_name(application_name: &str) -> String {
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '_') => c,
        _ => '_',
    };
    const BYTES_MAX: usize = 63;
    let name: String = application_name
        .chars()
        .map(allowed)
        .take(BYTES_MAX)
        .collect();
    if name.is_empty() {
        "standby".to_owned()
    } else {
        name
    }
}
